"""Install with ``pip install .`` or, to work on it, ``pip install -e .[dev]``."""

from setuptools import find_packages, setup

DOCS = ["sphinx>=8.1", "myst-nb>=1.3", "furo>=2025.7"]

setup(
    name="ractd_jax",
    version="0.1.0",
    description="Fast diffusion planning for offline reinforcement learning, in JAX",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="MIT",
    # Tests run on 3.11; tests/test_wheel.py installs and plays on 3.12 and 3.13.
    python_requires=">=3.11",
    packages=find_packages(include=["ractd_jax", "ractd_jax.*"]),
    package_data={
        "ractd_jax": ["py.typed", "policies/*.zip"],
        "ractd_jax.recording": ["assets/*.npz"],
        "ractd_jax.tasks": ["assets/*.npz"],
    },
    install_requires=[
        # pmap on top of jit and shard_map, and the key types used here: 0.8. The
        # next minor versions may drop pmap, so an upper bound.
        "jax>=0.8,<0.12",
        # Linen with struct and nn.Dropout as used here.
        "flax>=0.11,<0.13",
        "optax>=0.2.5,<0.3",
        # preservation policies of the CheckpointManager.
        "orbax-checkpoint>=0.11.20,<0.13",
        "chex>=0.1.90,<0.2",
        # 1.1 brought AutoresetMode, the -v5 environments 1.0; [mujoco] adds imageio.
        "gymnasium[mujoco]>=1.1,<1.5",
        # FrankaKitchen fails an assertion from 3.12 on.
        "mujoco>=3.1,<3.12",
        # create_dataset_from_buffers with spaces.
        # [hf] downloads datasets from the Hugging Face hub.
        "minari[hdf5,hf]>=0.5.2,<0.6",
        "ml-collections>=1.0,<2",
        "absl-py>=2.1",
        "h5py>=3.10",
        "numpy>=1.26",
        "scipy>=1.11",
        # What jax.export stores programs with, and jax does not install.
        "flatbuffers>=25.1",
        "tqdm>=4.66",
        "tensorboardX>=2.6",
        "matplotlib>=3.8",
    ],
    extras_require={
        "cuda": ["jax[cuda13]>=0.8,<0.12"],
        "tpu": ["jax[tpu]>=0.8,<0.12"],
        "behaviour": ["sbx-rl>=0.20"],
        "kitchen": ["gymnasium-robotics>=1.4,<1.5"],
        "maze": ["gymnasium-robotics>=1.4,<1.5"],
        "torch": ["torch>=2.2"],
        "stream": ["grain>=0.2.10"],
        # Without it, films are GIFs.
        "video": ["imageio[ffmpeg]>=2.31"],
        # Reads parquet files.
        "lerobot": ["pyarrow>=18"],
        "roundabout": ["highway-env>=1.12,<1.13"],
        # gymnax 1.0 would lower gymnasium or jax.
        "smax": ["jaxmarl>=0.2,<0.3", "gymnax==0.0.9"],
        "wandb": ["wandb>=0.17"],
        # Builds the site: make docs.
        "docs": DOCS,
        "dev": [
            "grain>=0.2.10",
            # The tests of mazes, of the roundabout and of SMAX.
            "gymnasium-robotics>=1.4,<1.5",
            "highway-env>=1.12,<1.13",
            "jaxmarl>=0.2,<0.3",
            "gymnax==0.0.9",
            "pyarrow>=18",
            "filelock",
            "pytest>=8",
            "pytest-xdist",
            "hypothesis>=6.100",
            "mypy>=1.14",
            "ruff>=0.9",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            *DOCS,
        ],
    },
)
