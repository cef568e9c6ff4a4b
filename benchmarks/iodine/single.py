"""`parts_jax.main` that knows one more variant: sim_tetrominoes/single, of one piece a picture.

    python -m benchmarks.iodine.single --config=configs/iodine_tetrominoes.py:demo \\
        --config.data.name=sim_tetrominoes/single
"""

from absl import app

from parts_jax import main
from parts_jax.data.sets import sim_tetrominoes, simulated
from parts_jax.simulate import tetrominoes

NAME = "single"
SET = f"{sim_tetrominoes.SimTetrominoes.name}/{NAME}"


def register() -> None:
    """Adds the variant, once."""
    known = sim_tetrominoes.SimTetrominoes.BUILDER_CONFIGS
    if NAME not in [config.name for config in known]:
        known.append(simulated.SimulatedConfig(
            name=NAME, world=tetrominoes.TetrominoSettings(num_pieces=1),
            num_clips=(10000, 320, 320), num_workers=1, description="35x35, 1 piece: for a VAE."))


if __name__ == "__main__":
    register()
    app.run(main.main, flags_parser=main.parse_flags)
