"""Whether a cluster takes this process's token: known at once, where Ray asks twenty times and prints every refusal."""

from __future__ import annotations

ANSWER_S = 5.0


class TokenRefused(ConnectionError):
    """The cluster at an address does not take this process's token."""


def check_token(address: str) -> None:
    """Asks a cluster whether it is alive. One that does not answer passes: Ray knows better what to say of it.

    Raises:
        TokenRefused: it wants another token.
        ray.exceptions.AuthenticationError: RAY_AUTH_MODE=token, and this process has no token.
    """
    import grpc
    from ray._private.gcs_utils import create_gcs_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    with create_gcs_channel(address) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            stub.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=ANSWER_S)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                raise TokenRefused("it does not take this process's token") from error
