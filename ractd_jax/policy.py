"""An exported policy: one file that plans with nothing but JAX and numpy.

`ractd_jax.planning.export` writes the file, a zip of three members:

* ``metadata.json``: a description, and the SHA-256 digests of the other members;
* ``plan.stablehlo``: the program, serialised by `jax.export`: ``(weights, observations,
  key data [B, 2])`` -> plans [B, H, A] in environment units, for any B;
* ``weights.npz``: its first argument, in order, or rounded to half precision, as the
  description's ``storage`` says (bfloat16 as uint16, which numpy has no name for).

The zip's comment is the digest of ``metadata.json``. The digests detect damage, not
malice: a policy is a program, so take it only from sources you would run code from.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import io
import json
import os
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.export
import numpy as np

from ractd_jax.errors import PolicyError
from ractd_jax.inputs import checked_key, checked_observations, fixed_numerics

FORMAT, VERSION = "ractd_jax policy", 5
METADATA, PROGRAM, WEIGHTS = "metadata.json", "plan.stablehlo", "weights.npz"
# Smaller weights are constants of the compiled program, which saves a fifth of a call.
_CONSTANT_BYTES = 32 * 2**20
STORAGES = ("float32", "float16", "bfloat16")
# A member's size over what it takes: more could ask for any amount of memory.
_LARGEST_RATIO = 20


class PolicyDimensions(NamedTuple):
    """Sizes of a plan and of what it is conditioned on.

    Attributes:
      observation: O.
      action: A.
      horizon: H, steps of a plan.
      history: h, latest observations that condition a plan.
      goal: G, size of the goal behind the state in an observation; 0 for none.
      conditioning: how start and goal enter the network.
      rank: 1 where a return's rank conditions plans, else 0.
      family: name of the environment family that the planner was trained for.
      plans_states: whether a plan holds states in place of actions.
      elements: E, elements of the scene behind an observation; 0 for none.
      element_size: F, numbers of an element.
      element_kinds: K, kinds of which an element names one; 0 where it holds numbers.
      joint: whether a plan holds states and actions, [H, O + A].
    """

    observation: int
    action: int
    horizon: int
    history: int
    goal: int = 0
    conditioning: str = "film"
    rank: int = 0
    family: str = ""
    plans_states: bool = False
    elements: int = 0
    element_size: int = 0
    element_kinds: int = 0
    joint: bool = False

    @property
    def environment_observation(self) -> int:
        return self.observation + self.goal

    def actions_of(self, plans):
        """[..., A] what is executed of plans [..., D] with actions."""
        return plans[..., self.observation :] if self.joint else plans


class Policy:
    """Makes the same plans as the planner it was exported from, in environment units.

    It is compiled once for each batch size, at the first call. A plan depends only on
    its own observation and key.

    Attributes:
      metadata: the contents of ``metadata.json``.
      dims: O, A, H and h.
      stage: ``teacher`` or ``student``.
      num_steps: steps of the sampler.
      nfe: network evaluations of a plan.
      execute: actions of a plan to execute before the next.
      program: the restored program: (weights, observations, key data) -> plans.
      weights: its first argument, on the device.
    """

    def __init__(self, metadata: dict, program: jax.export.Exported, weights: list):
        self.metadata = metadata
        self.dims = PolicyDimensions(**metadata["dimensions"])
        self.stage: str = metadata["stage"]
        self.num_steps: int = metadata["num_steps"]
        self.nfe: int = metadata["nfe"]
        self.execute: int = metadata["execute"]
        self.program, self.weights = program, jax.device_put(weights)
        self._inner = tuple(program.in_avals[-2].shape[1:])

        def plan(weights, observations, key, first_only):
            with fixed_numerics():
                keys = key if key.ndim else jax.random.split(key, len(observations))
                plans = program.call(weights, observations, jax.random.key_data(keys))
                return self.dims.actions_of(plans[:, 0]) if first_only else plans

        self._plan: Callable[..., jax.Array]
        if sum(array.nbytes for array in weights) <= _CONSTANT_BYTES:
            bound = functools.partial(plan, self.weights)
            self._plan = jax.jit(bound, static_argnames="first_only")
        else:
            compiled = jax.jit(plan, static_argnames="first_only")
            self._plan = functools.partial(compiled, self.weights)

    def plan(self, observations: np.ndarray, key: jax.typing.ArrayLike) -> jax.Array:
        """Samples plans.

        Args:
          observations: [B, O] in environment units, or [B, h, O] (oldest first) when
            the planner was trained with a history h > 1; [B, O + G], the state and the
            goal, for plans of states.
          key: one key, or [B] keys, one for each plan. A key is one of
            ``jax.random.key``, a uint32 [2] of ``jax.random.PRNGKey``, or an int s,
            which is ``jax.random.key(s)``; noise is threefry's, whatever JAX's default.

        Returns:
          [B, H, A] actions or [B, H, O] states, in environment units.

        Raises:
          ValueError: the observations or keys have a wrong shape, or are not finite.
        """
        return self._call(observations, key, first_only=False)

    def act(self, observations: np.ndarray, key: jax.typing.ArrayLike) -> jax.Array:
        """[B, A]: the first actions of :meth:`plan`, same arguments.

        Raises:
          ValueError: also when plans hold states, which a controller has to follow.
        """
        if self.dims.plans_states:
            raise ValueError(
                "this policy plans states: follow plan() with a controller"
            )
        return self._call(observations, key, first_only=True)

    def _call(self, observations, key, first_only):
        observations = checked_observations(observations, self._inner)
        key = checked_key(key, len(observations))
        try:
            return self._plan(observations, key, first_only=first_only)
        except NotImplementedError:  # of jax.export's programs
            raise TypeError(
                "a policy cannot be called inside vmap: plan and act take whole "
                "batches; a planner's plan_fn can"
            ) from None

    def __reduce__(self):
        weights = list(map(np.asarray, self.weights))
        return _from_bytes, (self.metadata, bytes(self.program.serialize()), weights)


def _from_bytes(metadata: dict, program: bytes, weights: list) -> Policy:
    """What a pickled policy becomes again."""
    return Policy(metadata, jax.export.deserialize(bytearray(program)), weights)


def load_policy(path: str | os.PathLike) -> Policy:
    """Loads an exported policy; nothing is unpickled.

    Args:
      path: file written by ``python -m experiments.export``.

    Raises:
      PolicyError: the file is missing, damaged, of another kind or version, or made
        for other platforms or a newer JAX.
      ImportError: the flatbuffers package is not installed.
    """
    members, comment = _read_members(path)
    metadata = _read_metadata(path, members[METADATA])
    digests = metadata.get("sha256")
    digests = digests if isinstance(digests, dict) else {}
    for name, content in members.items():
        expected = comment if name == METADATA else digests.get(name)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise PolicyError(
                path, field=name, expected=f"SHA-256 {expected}", found=found
            )
    program = _read_program(path, members[PROGRAM], metadata)
    weights = _read_weights(path, members[WEIGHTS], program, metadata)
    try:
        return Policy(metadata, program, weights)
    except (KeyError, TypeError, IndexError) as error:
        raise PolicyError(
            path, field=METADATA, expected="a policy's metadata", found=repr(error)
        ) from None


def shipped_policies() -> list[str]:
    """Names of the policies in the package."""
    folder = importlib.resources.files("ractd_jax") / "policies"
    if not folder.is_dir():
        return []
    files = [each.name for each in folder.iterdir()]
    return sorted(name[:-4] for name in files if name.endswith(".zip"))


def find_policy(policy: str | os.PathLike) -> str | os.PathLike:
    """The file of a shipped policy's name; another path is itself.

    Raises:
      PolicyError: neither a name nor a file.
    """
    names = shipped_policies()
    if policy in names:
        return str(importlib.resources.files("ractd_jax") / f"policies/{policy}.zip")
    if not os.path.exists(policy):
        raise PolicyError(
            policy,
            expected=f"a shipped policy ({', '.join(names)}), or an exported file",
            found="neither",
        )
    return policy


def _read_members(path) -> tuple[dict[str, bytes], str]:
    """The members' contents, checked by their CRCs, and the zip's comment."""
    expected = f"a zip of {METADATA}, {PROGRAM} and {WEIGHTS}"
    try:
        with open(path, "rb") as file:
            stored = file.read()
    except OSError as error:
        raise PolicyError(path, expected=expected, found=error.strerror) from None
    members = {}
    try:
        with zipfile.ZipFile(io.BytesIO(stored)) as archive:
            names = archive.namelist()
            if sorted(names) != [METADATA, PROGRAM, WEIGHTS]:
                raise PolicyError(path, expected=expected, found=f"one of {names}")
            for info in archive.infolist():
                if info.file_size > _LARGEST_RATIO * max(info.compress_size, 1):
                    raise PolicyError(
                        path,
                        field=info.filename,
                        expected=f"a member of at most {_LARGEST_RATIO} times what it "
                        "takes in the file",
                        found=f"{info.file_size} bytes in {info.compress_size}",
                    )
                members[info.filename] = archive.read(info)
            return members, archive.comment.decode("ascii", "replace")
    except PolicyError:
        raise
    except Exception as error:  # zipfile raises many kinds for damage
        kind = "a damaged or cut zip" if stored.startswith(b"PK") else "something else"
        raise PolicyError(
            path, expected=expected, found=f"{kind} of {len(stored)} bytes ({error})"
        ) from None


def _read_metadata(path, content: bytes) -> dict:
    try:
        metadata = json.loads(content)
        found = metadata["format"], metadata["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyError(
            path, field=METADATA, expected=f"format '{FORMAT}'", found=repr(error)
        ) from None
    if found != (FORMAT, VERSION):
        raise PolicyError(
            path,
            field=METADATA,
            expected=f"format '{FORMAT}', version {VERSION}",
            found=f"format {found[0]!r}, version {found[1]!r}",
        )
    return metadata


def _read_program(path, content: bytes, metadata: dict) -> jax.export.Exported:
    try:
        program = jax.export.deserialize(bytearray(content))
    except ImportError:
        raise
    except Exception as error:  # flatbuffers and jax each raise their own
        versions = metadata.get("versions")
        raise PolicyError(
            path,
            field=PROGRAM,
            expected=f"a program that jax {jax.__version__} can read",
            found=f"{error!r}, exported with {versions}",
        ) from None
    platform = jax.export.default_export_platform()
    if platform not in program.platforms:
        raise PolicyError(
            path,
            field=PROGRAM,
            expected=f"a program for {platform}",
            found=f"one for {', '.join(program.platforms)}",
        )
    return program


def _read_weights(path, content: bytes, program, metadata: dict) -> list[np.ndarray]:
    expected = [(aval.shape, aval.dtype) for aval in program.in_avals[:-2]]
    storage = metadata.get("storage", "float32")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            weights = [_restored(stored[name], storage) for name in stored.files]
    except Exception as error:  # zipfile and numpy each raise their own
        raise PolicyError(
            path, field=WEIGHTS, expected="arrays", found=repr(error)
        ) from None
    if [(array.shape, array.dtype) for array in weights] != expected:
        raise PolicyError(
            path,
            field=WEIGHTS,
            expected=f"the {len(expected)} arrays that {PROGRAM} takes",
            found=f"{len(weights)} arrays, which do not match",
        )
    return weights


def stored(array: np.ndarray, storage: str) -> np.ndarray:
    """`array` as a file holds it: rounded, if it is of float32."""
    if storage == "float32" or array.dtype != np.float32:
        return array
    if storage == "float16":
        return array.astype(np.float16)
    return array.astype(jax.numpy.bfloat16).view(np.uint16)


def _restored(array: np.ndarray, storage: str) -> np.ndarray:
    """The inverse of :func:`stored`, but for what was rounded."""
    if storage == "bfloat16" and array.dtype == np.uint16:
        array = array.view(jax.numpy.bfloat16)
    is_half = array.dtype in (np.float16, jax.numpy.bfloat16)
    return array.astype(np.float32) if is_half else array
