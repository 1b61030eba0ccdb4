"""Environments as immutable pytrees of physical parameters with pure `reset` and `step` (the contract: `envs.base`).

Behind Gymnasium's interfaces they stand in `rljax.envs.gymnasium`, which is imported by itself.
"""

from rljax.envs.base import Environment as Environment
from rljax.envs.cartpole import CartPole as CartPole
from rljax.envs.cartpole import CartPoleState as CartPoleState
from rljax.envs.functional import FunctionalEnv as FunctionalEnv
from rljax.envs.functional import from_functional as from_functional
from rljax.envs.tabular import TabularEnv as TabularEnv
from rljax.envs.tabular import mdp_from_env as mdp_from_env
from rljax.envs.wrappers import EpisodeStatistics as EpisodeStatistics
from rljax.envs.wrappers import EpisodeStatisticsState as EpisodeStatisticsState
from rljax.envs.wrappers import TimeLimit as TimeLimit
from rljax.envs.wrappers import TimeLimitState as TimeLimitState
