"""Who the agent is compared with: programs of their own, started anew for every round."""
