"""From a run folder to one self-contained page; nothing here trains or imports a model."""
