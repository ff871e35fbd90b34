"""The ways for weights to travel, by their names in a recipe. A further one is a class in a file of its own, and a
line here.
"""

from actors.weights.transports.base import Gpus, Transport
from actors.weights.transports.collective import CollectiveTransport
from actors.weights.transports.store import StoreTransport

TRANSPORTS: dict[str, Transport] = {
    StoreTransport.name: StoreTransport(),
    CollectiveTransport.name: CollectiveTransport(),
}


def automatic_transport(gpus: Gpus) -> Transport:
    """What `transport: auto` takes: collective if learner and rollout workers have whole GPUs of their own, else the
    store.
    """
    fits = gpus.rollout >= 1 and CollectiveTransport.possible(gpus)
    return TRANSPORTS["collective" if fits else "store"]
