"""Print the strategies and the samplers as two Markdown tables, for the page that lists them.

python docs/print_strategies.py
"""

from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES

NEEDS = {"": "all", "weights": "models with weights", "networks": "networks"}


def main() -> None:
    """Print both tables."""
    print("| name | what it does | when to use it | for | paper |\n|---|---|---|---|---|")
    for name, known in STRATEGIES.items():
        print(f"| `{name}` | {known.about} | {known.use} | {NEEDS[known.needs]} | {known.paper or '–'} |")
    print("\n| name | what it does | when to use it | amount | paper |\n|---|---|---|---|---|")
    for name, known in SAMPLERS.items():
        amount = "yes" if known.amount else "no"
        print(f"| `{name}` | {known.about} | {known.use} | {amount} | {known.paper} |")


if __name__ == "__main__":
    main()
