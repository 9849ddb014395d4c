"""The only way from a service to models and tools: it holds the keys, caps the money and keeps the true log
of calls."""

from trial.gateway.config import Caps, ConfigError, GatewayConfig, Price, ToolServer, Upstream, load_config
from trial.gateway.meter import Cost, Meter, OverBudget
from trial.gateway.replay import ReplayGateway

__all__ = [
    "Caps",
    "ConfigError",
    "Cost",
    "GatewayConfig",
    "Meter",
    "OverBudget",
    "Price",
    "ReplayGateway",
    "ToolServer",
    "Upstream",
    "load_config",
]
