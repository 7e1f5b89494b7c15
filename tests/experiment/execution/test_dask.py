"""Cells on a Dask cluster of processes on this machine: the same bytes, whatever dies."""

import os
import signal
import socket
import ssl
import sys
import threading
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import psutil
import pytest

pytest.importorskip("distributed", reason="Dask comes with the extra 'cluster'")

import dask
from distributed import Client, LocalCluster
from sklearn.base import BaseEstimator, ClassifierMixin

from skinmnist import run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.execution import dask as dask_module
from skinmnist.experiment.execution.machine import NO_LIMITS
from skinmnist.experiment.fit_cell import cell_seeds
from skinmnist.experiment.plan import make_plan

# Dask looks after itself in threads and sockets that it lets go of when it pleases.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Slow(ClassifierMixin, BaseEstimator):
    """Answers at random, by its seed; of the seed `poison` it kills its process."""

    def __init__(self, seconds=0.0, poison=-1, random_state=None):
        self.seconds, self.poison, self.random_state = seconds, poison, random_state

    def fit(self, X, y):
        time.sleep(self.seconds)
        if self.random_state == self.poison:
            os._exit(1)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.random.default_rng(self.random_state).dirichlet(np.ones(len(self.classes_)), len(X))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def contents(record):
    return (record.folder / "scores.csv").read_bytes(), record.predictions


@pytest.fixture(scope="module")
def address():
    """A cluster of two processes, as somebody else may have started it."""
    long = {"distributed.comm.timeouts.connect": "120s", "distributed.deploy.lost-worker-timeout": "300s"}
    patiently = dask.config.set(long)
    with (
        patiently,
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
            memory_limit=0,
        ) as running,
    ):
        yield running


def run(lesions, models, out, **more):
    return run_comparison(lesions, ["none", "RandomOverSampler"], models, out=out, **{"folds": 3, **more})


def test_the_same_bytes_as_on_one_machine(lesions, tmp_path, address):
    models = {"logistic_regression": "logistic_regression", "slow": Slow()}
    here = run(lesions, models, tmp_path / "here", jobs=1)
    there = run(lesions, models, tmp_path / "there", dask=address.scheduler_address)
    assert not there.failures
    assert contents(here)[0] == contents(there)[0]
    assert contents(here)[1].equals(contents(there)[1])
    files = [{path.name for path in (record.folder / "cells").iterdir()} for record in (here, there)]
    assert files[0] == files[1]


class Counted(dask_module.SharedInputs):
    """Tells how often a worker was handed the inputs."""

    def setup(self, worker):
        worker.inputs_received = getattr(worker, "inputs_received", 0) + 1


def test_the_table_crosses_to_each_worker_once(lesions, tmp_path, address, monkeypatch):
    monkeypatch.setattr(dask_module, "SharedInputs", Counted)
    address.scale(2)
    run(lesions, {"slow": Slow()}, tmp_path / "a", dask=address.scheduler_address)
    with Client(address, set_as_default=False) as client:
        received = client.run(lambda dask_worker: getattr(dask_worker, "inputs_received", 0))
        assert sorted(received.values()) == [1, 1]
        # And nothing of it is left there.
        left = client.run(lambda dask_worker: [name for name in dask_worker.plugins if "skinmnist" in name])
        assert list(left.values()) == [[], []]


def test_what_a_dead_client_had_sent_is_taken_back(lesions, tmp_path, address):
    task = make_plan(lesions, ["none"], ["dummy"], 3, 1, None, 0, None).task
    with Client(address, set_as_default=False) as dead:
        left = dask_module.SharedInputs(lesions, task, dead.id)
        dead.register_plugin(left)
        assert dead.run_on_scheduler(dask_module.abandoned_inputs) == []
    with Client(address, set_as_default=False) as client:
        assert client.run_on_scheduler(dask_module.abandoned_inputs) == [left.name]
        run(lesions, ["dummy"], tmp_path / "a", dask=address.scheduler_address)
        assert client.run_on_scheduler(dask_module.abandoned_inputs) == []


def test_a_table_too_large_to_send_is_refused(lesions, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_module, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="use --jobs instead"):
        run(lesions, ["dummy"], tmp_path / "a", dask="local")


def kill_workers(cluster_, cells, kills, every, stop):
    """Kill one worker each time that so many more cells are done."""
    rng, done = np.random.default_rng(0), []
    while len(done) < kills and not stop.is_set():
        time.sleep(0.005)
        if len(list(cells.glob("*.cell"))) < every * (len(done) + 1):
            continue
        # Those that have come up: of one that dies on its way, its nanny thinks that it never will.
        alive = [worker.pid for worker in list(cluster_.scheduler.workers.values())]
        if alive:
            victim = int(rng.choice(alive))
            if victim not in done:
                os.kill(victim, signal.SIGKILL)
                done.append(victim)
    return done


def check_kills(lesions, tmp_path, address, kills, every, seconds):
    """Kill workers during a run of 45 cells."""
    models = {"slow": Slow(seconds)}
    grid = {"folds": 5, "repeats": 3}
    samplers = ["none", "RandomOverSampler", "SMOTE"]
    here = run_comparison(lesions, samplers, models, jobs=1, out=tmp_path / "here", **grid)
    stop, killed = threading.Event(), []
    cells = tmp_path / "there" / "cells"
    killer = threading.Thread(target=lambda: killed.extend(kill_workers(address, cells, kills, every, stop)))
    killer.start()
    where = address.scheduler_address
    there = run_comparison(lesions, samplers, models, out=tmp_path / "there", dask=where, **grid)
    stop.set()
    killer.join()
    assert not there.failures
    assert contents(here)[0] == contents(there)[0]
    print(f"\n{len(killed)} workers killed during {len(there.results)} cells")
    return killed


def test_cells_of_lost_workers_run_again(lesions, tmp_path, address):
    assert len(check_kills(lesions, tmp_path, address, kills=1, every=10, seconds=0.1)) == 1


@pytest.mark.slow
def test_twenty_kills_during_45_cells(lesions, tmp_path, address):
    assert len(check_kills(lesions, tmp_path, address, kills=20, every=2, seconds=1)) == 20


def test_a_poison_cell_fails_alone(lesions, tmp_path):
    """On a cluster of its own: it kills every worker that it meets."""
    _, seed = cell_seeds(0, Cell("none", "slow", 0, 1))
    models = {"slow": Slow(poison=seed)}
    record = run_comparison(lesions, "none", models, folds=3, jobs=1, dask="local", out=tmp_path / "a")
    (failure,) = record.failures
    assert failure.cell.fold == 1
    assert "died repeatedly" in failure.reason
    assert {result.cell.fold for result in record.results} == {0, 2}


def test_a_cluster_that_stays_without_workers_is_an_error(monkeypatch):
    monkeypatch.setattr(dask_module, "_STARTUP_SECONDS", 0.5)
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as empty,
        Client(empty, set_as_default=False) as client,
    ):
        waiting = dask_module.DaskPool(client, "", NO_LIMITS)
        waiting.check()
        time.sleep(1)
        with pytest.raises(InputError, match="has had no worker"):
            waiting.check()


def test_nobody_answers(lesions, monkeypatch):
    monkeypatch.setattr(dask_module, "_CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="no Dask cluster answers at 'tcp"):
        run_comparison(lesions, "none", "dummy", folds=2, dask="tcp://127.0.0.1:9")


def test_workers_with_other_versions_are_refused(lesions, address, monkeypatch):
    monkeypatch.setattr(dask_module, "environment", lambda: {"numpy": "0.1"})
    with pytest.raises(InputError, match=r"has .* but the client has .*; expected the same"):
        run_comparison(lesions, "none", "dummy", folds=2, dask=address.scheduler_address)


def listening():
    """Return the addresses at which this process and those under it are listening."""
    own = psutil.Process()
    return [
        connection.laddr
        for process in [own, *own.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_a_local_cluster_obeys_its_own_client_alone():
    """Other users of the machine reach its ports, but have no certificate."""
    before = listening()
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    with dask_module._connected("local", 1, NO_LIMITS) as client:
        with pytest.raises((OSError, TypeError), match="TLS"):
            Client(client.scheduler.address, timeout=5, set_as_default=False)
        opened = set(listening()) - set(before)
        assert {host for host, _ in opened} == {"127.0.0.1"}
        info = client.scheduler_info()
        servers = [info, *info["workers"].values()]
        web = {server["services"]["dashboard"] for server in servers}
        for port in web:
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"http://127.0.0.1:{port}/info/main/workers.html")
        # The scheduler, the worker and its nanny.
        talking = {port for _, port in opened} - web
        assert len(talking) == 3
        for port in talking:
            with (
                socket.create_connection(("127.0.0.1", port), 60) as plain,
                pytest.raises((ssl.SSLError, ConnectionError), match=r"CERTIFICATE_REQUIRED|reset"),
                anonymous.wrap_socket(plain) as stream,
            ):
                stream.recv(100)


def test_a_local_cluster_needs_its_extra(lesions, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InputError, match="cryptography is not installed"):
        run_comparison(lesions, "none", "dummy", folds=2, dask="local")
