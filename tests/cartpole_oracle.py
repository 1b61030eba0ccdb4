"""Gymnasium's classic CartPole as an oracle: its own environment, and its step over many states at once, in float64."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from rljax.envs import CartPoleState

INTEGRATORS = ("euler", "semi-implicit")
HEAVY = {"gravity": 3.7, "masscart": 0.6, "masspole": 0.45, "length": 1.1, "force_mag": 4.0, "tau": 0.05}
LIMITS = {"angle_threshold": 0.4, "position_threshold": 1.5}
PARAMETERS = {"default": {}, "heavy pole": {**HEAVY, **LIMITS}}


def classic(parameters=None, integrator="euler", **options):
    """Gymnasium's own environment, with changed parameters carried through to what it stores of them."""
    env = gymnasium.make("CartPole-v1", **options).unwrapped
    assert type(env) is CartPoleEnv
    for name, value in (parameters or {}).items():
        name = {"angle_threshold": "theta_threshold_radians", "position_threshold": "x_threshold"}.get(name, name)
        assert isinstance(getattr(env, name), float)
        setattr(env, name, value)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length
    env.kinematics_integrator = integrator
    return env


def ask(env, state, action):
    """(next state, reward, terminated) of Gymnasium from any state, as the first step after a reset."""
    env.state, env.steps_beyond_terminated = np.array(state, np.float64), None
    _, reward, terminated, _, _ = env.step(int(action))
    return env.state, reward, terminated


def largest(*terms):
    """The largest magnitude among terms that are summed, and their sum where it is larger still."""
    return np.max(np.abs(np.broadcast_arrays(*terms, sum(terms))), axis=0)


def oracle(env, state, action):
    """Gymnasium's step over columns [4, B] in float64: next state, terminated, and for each next variable the largest
    magnitude among the terms that are summed on the way to it."""
    x, v, theta, omega = np.asarray(state, np.float64)
    force = np.where(action == 1, env.force_mag, -env.force_mag)
    cos, sin = np.cos(theta), np.sin(theta)
    centrifugal = env.polemass_length * np.square(omega) * sin
    temp = (force + centrifugal) / env.total_mass
    share = 4.0 / 3.0 - env.masspole * np.square(cos) / env.total_mass
    inertia = env.length * share
    thetaacc = (env.gravity * sin - cos * temp) / inertia
    xacc = temp - env.polemass_length * thetaacc * cos / env.total_mass
    next_v, next_omega = v + env.tau * xacc, omega + env.tau * thetaacc
    explicit = env.kinematics_integrator == "euler"
    next_x = x + env.tau * (v if explicit else next_v)
    next_theta = theta + env.tau * (omega if explicit else next_omega)
    terminated = (np.abs(next_x) > env.x_threshold) | (np.abs(next_theta) > env.theta_threshold_radians)

    # The scale of each sum; where a term is itself a sum, that sum's scale is carried along.
    drive = largest(force, centrifugal) / env.total_mass
    spin = np.maximum(largest(env.gravity * sin, -cos * temp), np.abs(cos) * drive) / inertia
    spin *= 4.0 / 3.0 / share  # the divisor is a difference, whose first term is 4/3
    push = np.maximum(
        largest(temp, xacc - temp), np.maximum(drive, env.polemass_length * spin * np.abs(cos) / env.total_mass)
    )
    of_v = np.maximum(largest(v, env.tau * xacc), env.tau * push)
    of_omega = np.maximum(largest(omega, env.tau * thetaacc), env.tau * spin)
    of_x = np.maximum(largest(x, next_x - x), 0.0 if explicit else env.tau * of_v)
    of_theta = np.maximum(largest(theta, next_theta - theta), 0.0 if explicit else env.tau * of_omega)
    return np.stack([next_x, next_v, next_theta, next_omega]), terminated, np.stack([of_x, of_v, of_theta, of_omega])


def pairs(count, seed=0):
    """States [4, count], float64 but exact in float32, and actions: one half reachable, one half far beyond."""
    random = np.random.default_rng(seed)
    alive = random.uniform(-1, 1, (4, count - count // 2)) * np.array([[2.4], [3.0], [0.21], [3.5]])
    beyond = random.uniform(-1, 1, (4, count // 2)) * np.array([[5.0], [10.0], [3.0], [10.0]])
    state = np.concatenate([alive, beyond], axis=1).astype(np.float32).astype(np.float64)
    return state, random.integers(0, 2, count)


def stepper(env):
    return jax.jit(jax.vmap(lambda state, action: env.step(jax.random.key(0), state, action)))


def columns(state, dtype=None):
    return CartPoleState(*jnp.asarray(state, dtype))
