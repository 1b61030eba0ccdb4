"""Markov decision processes in tables: the model, Bellman's operators, planners with proven error bounds, problems, chains."""

from rljax.mdp.model import TabularMDP as TabularMDP
from rljax.mdp.planning import Solution as Solution
from rljax.mdp.planning import optimal_values as optimal_values
from rljax.mdp.planning import solve as solve
from rljax.mdp.transitions import Dense as Dense
from rljax.mdp.transitions import Generated as Generated
from rljax.mdp.transitions import Sparse as Sparse
