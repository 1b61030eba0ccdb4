"""Markov decision processes in tables: the model, Bellman's operators, planners with proven error bounds, problems, chains."""

from rljax.mdp import chain as chain
from rljax.mdp import gridworld as gridworld
from rljax.mdp import planners as planners
from rljax.mdp import problems as problems
from rljax.mdp.convert import from_nested as from_nested
from rljax.mdp.convert import from_scipy as from_scipy
from rljax.mdp.convert import to_dense as to_dense
from rljax.mdp.convert import to_sparse as to_sparse
from rljax.mdp.generated import Generated as Generated
from rljax.mdp.levels import Levels as Levels
from rljax.mdp.levels import outwards as outwards
from rljax.mdp.model import TabularMDP as TabularMDP
from rljax.mdp.operators import bellman_optimality as bellman_optimality
from rljax.mdp.operators import greedy as greedy
from rljax.mdp.operators import policy_operator as policy_operator
from rljax.mdp.operators import q_bellman_optimality as q_bellman_optimality
from rljax.mdp.operators import q_values as q_values
from rljax.mdp.operators import soft_bellman as soft_bellman
from rljax.mdp.planners import plan as plan
from rljax.mdp.planning import Solution as Solution
from rljax.mdp.planning import optimal_values as optimal_values
from rljax.mdp.planning import solve as solve
from rljax.mdp.toy_text import from_gymnasium as from_gymnasium
from rljax.mdp.transitions import Dense as Dense
from rljax.mdp.transitions import Sparse as Sparse
