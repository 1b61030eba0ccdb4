"""Learners: each file makes one family of `Algorithm`s and keeps its inner functions public."""

from rljax.agents.dqn import dqn as dqn
from rljax.agents.linear_q import linear_q as linear_q
from rljax.agents.planning import average_planner as average_planner
from rljax.agents.planning import planner as planner
from rljax.agents.policy_search import policy_search as policy_search
from rljax.agents.pqn import pqn as pqn
from rljax.agents.reinforce import reinforce as reinforce
from rljax.agents.search_methods import evolution_strategy as evolution_strategy
from rljax.agents.search_methods import genetic as genetic
from rljax.agents.search_methods import hill_climbing as hill_climbing
from rljax.agents.search_methods import random_search as random_search
from rljax.agents.tabular import control as control
from rljax.agents.tabular import predict as predict
