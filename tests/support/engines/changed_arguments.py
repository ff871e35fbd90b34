"""Other arguments of vLLM's engine than `VllmEngine` gives it."""


def arguments_with(**changed):
    """A class to be put in the place of `vllm.AsyncEngineArgs`, which has `changed` whatever it is told."""
    from vllm import AsyncEngineArgs

    class Arguments(AsyncEngineArgs):
        def __post_init__(self):
            vars(self).update(changed)
            super().__post_init__()

        def create_engine_config(self, *arguments, **options):
            config = super().create_engine_config(*arguments, **options)
            if "async_scheduling" in changed:  # vLLM turns it off on a CPU
                config.scheduler_config.async_scheduling = changed["async_scheduling"]
            return config

    return Arguments
