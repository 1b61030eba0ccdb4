"""CartPole (Barto, Sutton & Anderson, 1983): keep a pole upright on a cart by pushing the cart left or right.

Step by step equal to Gymnasium's classic `CartPole-v1`, which integrates in float64; ours takes the precision of its state.

| action | force             |        | state            | unit  | episode ends beyond |
|--------|-------------------|        |------------------|-------|---------------------|
| 0      | `-force_mag` [N]  |        | position         | m     | +-2.4               |
| 1      | `+force_mag` [N]  |        | velocity         | m/s   |                     |
                                      | angle            | rad   | +-12 degrees        |
                                      | angular_velocity | rad/s |                     |
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax import checks, noise
from rljax.envs import trigonometry
from rljax.structs import Step, pytree_dataclass

if TYPE_CHECKING:
    from gymnasium import spaces


class CartPoleState(NamedTuple):
    """Where cart and pole are and how they move."""

    position: Array  # [] m, of the cart on the track
    velocity: Array  # [] m/s
    angle: Array  # [] rad, 0 is upright, positive leans right
    angular_velocity: Array  # [] rad/s


@pytree_dataclass
class CartPole:
    """The environment is its physics: every field is a leaf, so `vmap` over `gravity` is domain randomisation.

    Example:
      >>> import jax
      >>> env = CartPole()
      >>> state, observation = env.reset(jax.random.key(0))
      >>> state, step = env.step(jax.random.key(1), state, jnp.int32(1))
      >>> float(step.reward), bool(step.terminated)
      (1.0, False)
    """

    _: KW_ONLY
    gravity: float | Array = 9.8  # m/s^2
    masscart: float | Array = 1.0  # kg
    masspole: float | Array = 0.1  # kg
    length: float | Array = 0.5  # m, half the pole
    force_mag: float | Array = 10.0  # N
    tau: float | Array = 0.02  # s between two actions
    angle_threshold: float | Array = 12 * 2 * math.pi / 360  # rad; infinite: the pole may turn
    position_threshold: float | Array = 2.4  # m; infinite: the track has no end
    reset_range: float | Array = 0.05  # each state variable starts uniform in +-reset_range
    integrator: Literal["euler", "semi-implicit"] = field(default="euler", metadata={"static": True})
    sutton_barto_reward: bool = field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        checks.choice("integrator", self.integrator, ("euler", "semi-implicit"))
        checks.flags(sutton_barto_reward=self.sutton_barto_reward)
        for name in (f.name for f in dataclasses.fields(self) if not f.metadata.get("static")):
            may_be_zero, may_be_infinite = name in ("gravity", "reset_range"), name.endswith("_threshold")
            checks.real(name, getattr(self, name), 0, above=not may_be_zero, below=not may_be_infinite, batch=True)

    @property
    def total_mass(self) -> float | Array:
        """Cart and pole, kg."""
        return self.masspole + self.masscart

    @property
    def polemass_length(self) -> float | Array:
        """First moment of the pole about its pivot, kg m."""
        return self.masspole * self.length

    @property
    def observation_space(self) -> spaces.Box:
        """Twice the thresholds, so that the observation of a fallen pole is still inside."""
        from gymnasium import spaces

        high = np.array([2 * self.position_threshold, np.inf, 2 * self.angle_threshold, np.inf], np.float32)
        return spaces.Box(-high, high)

    @property
    def action_space(self) -> spaces.Discrete:
        """0 pushes left, 1 pushes right."""
        from gymnasium import spaces

        return spaces.Discrete(2)

    def reset(self, key: Array) -> tuple[CartPoleState, Array]:
        """Every state variable uniform in `[-reset_range, reset_range)`."""
        draws = noise.uniforms(key, 4)
        state = CartPoleState(*((2.0 * u - 1.0) * self.reset_range for u in draws))
        return state, self.observe(state)

    def step(self, key: Array, state: CartPoleState, action: Array) -> tuple[CartPoleState, Step]:
        """One push of `tau` seconds; the physics is deterministic and leaves `key` unused.

        Errors:
          TypeError: the action is not one integer, the state no `CartPoleState` of floats.
          ValueError: it is neither 0 nor 1, as far as it is known (not under jit).
        """
        del key
        checks.action(action, 2)
        kinds = [getattr(x, "dtype", None) for x in state] if isinstance(state, CartPoleState) else [None]
        if not all(kind is not None and jnp.issubdtype(kind, jnp.floating) for kind in kinds):
            raise TypeError(
                f"the state is {state!r}; expected a CartPoleState of arrays of floats. Take what reset returns, or one "
                "like it, such as CartPoleState(*jnp.array([0.0, 0.0, 0.1, 0.0]))."
            )
        next_state = self.dynamics(state, action)
        terminated = self.terminal(next_state)
        reward = self.reward(terminated, fell_before=self.terminal(state))
        step = Step(self.observe(next_state), reward.astype(state.angle.dtype), terminated, jnp.zeros_like(terminated))
        return next_state, step

    def observe(self, state: CartPoleState) -> Array:
        """[4]: the state itself."""
        return jnp.stack(state)

    def dynamics(self, state: CartPoleState, action: Array) -> CartPoleState:
        """Newton's law for cart and pole, frictionless, theta the angle and F the push:

            u       = (F + m l theta'^2 sin theta) / M
            theta'' = (g sin theta - u cos theta) / (l (4/3 - m cos^2 theta / M))
            x''     = u - m l theta'' cos theta / M

        with M the total mass, m the pole's mass and l half its length. Differentiable everywhere.
        """
        x, v, theta, omega = state
        force = jnp.where(action == 1, self.force_mag, -self.force_mag).astype(theta.dtype)
        sin, cos = self._sin_cos(theta)
        drive = (force + self.polemass_length * jnp.square(omega) * sin) / self.total_mass
        inertia = self.length * (4.0 / 3.0 - self.masspole * jnp.square(cos) / self.total_mass)
        angular_acceleration = (self.gravity * sin - cos * drive) / inertia
        acceleration = drive - self.polemass_length * angular_acceleration * cos / self.total_mass
        next_v, next_omega = v + self.tau * acceleration, omega + self.tau * angular_acceleration
        speeds = (v, omega) if self.integrator == "euler" else (next_v, next_omega)
        arrival = (x + self.tau * speeds[0], next_v, theta + self.tau * speeds[1], next_omega)
        # In the precision of the state, whatever that of the parameters: what a loop carries must keep its type.
        return CartPoleState(*(new.astype(old.dtype) for new, old in zip(arrival, state, strict=True)))

    def _sin_cos(self, angle: Array) -> tuple[Array, Array]:
        # The fast pair where the threshold keeps every living pole inside its proven domain, XLA's where none is known.
        if isinstance(self.angle_threshold, float) and self.angle_threshold < trigonometry.DOMAIN / 2:
            return trigonometry.sin_cos(angle)
        return jnp.sin(angle), jnp.cos(angle)

    def terminal(self, state: CartPoleState) -> Array:
        """[] bool: the cart left the track or the pole leans too far; so does a state that is NaN."""
        on_track = jnp.abs(state.position) <= self.position_threshold
        return ~(on_track & (jnp.abs(state.angle) <= self.angle_threshold))

    def reward(self, terminated: Array, *, fell_before: Array | bool = False) -> Array:
        """1 for every step that started upright; with `sutton_barto_reward`, -1 for every fallen state and 0 before."""
        if self.sutton_barto_reward:
            return jnp.where(terminated, -1.0, 0.0)
        return jnp.where(terminated & fell_before, 0.0, 1.0)
