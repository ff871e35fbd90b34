"""The mailbox: every rank takes an order once, and the run gets all answers or learns that the ranks were restarted."""

import asyncio

from actors.learner.mailbox import Answer, Mailbox


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def started(mailbox, group, ranks):
    """The numbers of the last order that the ranks of a new group are not to take."""
    return [await mailbox.join(rank, ranks, group, f"10.0.0.{rank}") for rank in range(ranks)]


async def carry_out(mailbox, group, rank, done):
    posted = await mailbox.take(done)
    await mailbox.answer(rank, posted.number, group, Answer(f"{posted.name} by {rank}"))
    return posted


def test_an_order_waits_for_all_ranks_and_answers_come_in_their_order():
    async def scenario():
        mailbox = Mailbox(2)
        pending = asyncio.create_task(mailbox.dispatch("sft", ["reference"], 0))
        await mailbox.join(1, 2, "first", "10.0.0.1")
        await asyncio.sleep(0.01)
        assert mailbox.posted is None  # rank 0 has not joined
        await mailbox.join(0, 2, "first", "10.0.0.0")
        posted = [await carry_out(mailbox, "first", rank, 0) for rank in (1, 0)]
        return posted, await pending

    posted, answers = run(scenario())
    assert [(p.number, p.name, p.order) for p in posted] == [(1, "sft", "reference")] * 2
    assert [answer.value for answer in answers] == ["sft by 0", "sft by 1"]


def test_an_order_is_over_when_a_new_group_joins_and_its_ranks_do_not_take_it():
    async def scenario():
        mailbox = Mailbox(2)
        await started(mailbox, "first", 2)
        pending = asyncio.create_task(mailbox.dispatch("grpo", ["one"], 1))
        await carry_out(mailbox, "first", 0, 0)
        await mailbox.report_dead({1: "its process is gone"})
        assert (await mailbox.state()).missing == ["1 on 10.0.0.1"]
        dones = await started(mailbox, "second", 1)
        assert await pending is None and dones == [1]
        await mailbox.answer(1, 1, "first", Answer("too late"))
        state = await mailbox.state()
        # The run has not heard of the second group yet: the next order ends at once, rather than run on fresh ranks.
        assert await mailbox.dispatch("save", ["two"], 1) is None
        pending = asyncio.create_task(mailbox.dispatch("load", ["three"], state.groups))
        posted = await carry_out(mailbox, "second", 0, dones[0])
        return state, posted, await pending

    state, posted, answers = run(scenario())
    assert (state.groups, state.ranks) == (2, 1)
    assert state.lost == ["learner rank 1 on 10.0.0.1: its process is gone"]
    assert posted.name == "load" and [answer.value for answer in answers] == ["load by 0"]


def test_an_answer_to_an_earlier_order_is_dropped():
    async def scenario():
        mailbox = Mailbox(1)
        await started(mailbox, "only", 1)
        for name in ("hello", "sft"):
            pending = asyncio.create_task(mailbox.dispatch(name, [name], 1))
            posted = await mailbox.take(0 if name == "hello" else 1)
            await mailbox.answer(0, posted.number - 1, "only", Answer("of the order before"))
            assert not pending.done() and (await mailbox.state()).missing == ["0 on 10.0.0.0"]
            await mailbox.answer(0, posted.number, "only", Answer(name))
            assert [answer.value for answer in await pending] == [name]

    run(scenario())
