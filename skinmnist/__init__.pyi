"""The public names and their types; the names are imported when they are first used."""

from skinmnist.console.run import Run as Run
from skinmnist.console.run import read_run as read_run
from skinmnist.console.run import run_comparison as run_comparison
from skinmnist.datasets.hmnist import load_hmnist as load_hmnist
from skinmnist.datasets.layouts import load_table as load_table
from skinmnist.datasets.synthetic.lesions import make_lesions as make_lesions
from skinmnist.datasets.table import PixelTable as PixelTable
from skinmnist.errors import InputError as InputError
from skinmnist.experiment.execution.machine import Limits as Limits
from skinmnist.experiment.execution.runner import Progress as Progress
from skinmnist.experiment.metrics import HeldOut as HeldOut
from skinmnist.experiment.metrics import Metric as Metric
from skinmnist.experiment.run_folder.record import RunRecord as RunRecord
from skinmnist.experiment.run_folder.run_info import Request as Request
from skinmnist.experiment.train_model import TrainedModel as TrainedModel
from skinmnist.experiment.train_model import train_model as train_model
from skinmnist.inference.classifier import Classifier as Classifier
from skinmnist.inference.classifier import classify_image as classify_image
from skinmnist.inference.classifier import load_classifier as load_classifier
from skinmnist.inference.prediction import Prediction as Prediction
from skinmnist.leakage.demonstrate import demonstrate_leaks as demonstrate_leaks
from skinmnist.leakage.leaks import Demonstration as Demonstration
from skinmnist.models.spec import ModelSpec as ModelSpec
from skinmnist.reporting.page import write_report as write_report
from skinmnist.resampling.registry import Resampler as Resampler

__version__: str
