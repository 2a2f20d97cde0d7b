"""Play the scenes, show what became of each, and say whether all of it is right."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.demo.receiver import Arrival, Receiver
from relay.demo.scenes import Scene, scenes
from relay.demo.stage import Stage
from relay.reasons import Reason, fix, sentence
from relay.replies import Reply

ARRIVAL_SECONDS = 60
PENDING = ("queued", "active", "deferred")

Say = Callable[[str], None]
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What became of one scene. `faults`: what is not as it must be."""

    scene: Scene
    reply: Reply
    arrivals: tuple[Arrival, ...]
    deliveries: tuple[dict[str, Any], ...]
    faults: tuple[str, ...]


async def play(say: Say, *, keep: bool = False, tell: Tell = lambda _: None) -> bool:
    """Run the whole demo; True when all of it is right. tell: hears each scene's end, and the whole's, as values."""
    with tempfile.TemporaryDirectory(prefix="agiris-relay-demo-") as folder:
        receiver = Receiver()
        stage = Stage(Path(folder), await receiver.start())
        stage.prepare()
        say(f"The relay is on 127.0.0.1:{stage.smtp}, its spool in {folder};")
        say(f"a server standing for Agiris is on 127.0.0.1:{receiver.port}.")
        try:
            if not await stage.start():
                say(f"The daemon did not start. Its log:\n{stage.log.read_text(encoding='utf-8', errors='replace')}")
                return False
            right = await _act(stage, receiver, say, tell)
            if keep:
                await _stay(stage, say)
        finally:
            code = await stage.stop()
            await receiver.close()
        if code != 0:
            say(f"✗ the daemon ended with {code}; its log:\n{stage.log.read_text(encoding='utf-8', errors='replace')}")
        return right and code == 0


async def _act(stage: Stage, receiver: Receiver, say: Say, tell: Tell) -> bool:
    acts = scenes()
    replies = [await asyncio.to_thread(stage.submit, scene.recipient, scene.mail()) for scene in acts]
    again = await asyncio.to_thread(stage.submit, acts[0].recipient, acts[0].mail())
    await receiver.wait_relayed(sum(scene.to is not None for scene in acts), ARRIVAL_SECONDS)
    deliveries = await _settled(stage)
    in_french = await stage.command("queue", "list", "--all", "--language", "fr")
    french = {delivery["id"]: delivery["detail"] for delivery in in_french}
    endings = [_judge(scene, reply, receiver, deliveries) for scene, reply in zip(acts, replies, strict=True)]
    for number, ending in enumerate(endings, 1):
        _show(number, ending, french, say)
        tell(_values(ending))
    same = str(again) == str(replies[0])
    say(f"\n{'✓' if same else '✗'} the first mail submitted once more: answered {again}, stored and sent once")
    right = same and not any(ending.faults for ending in endings)
    relayed = sum(bool(ending.arrivals) for ending in endings)
    kept_back = sum(ending.scene.to is None for ending in endings)
    say(
        f"\n{len(endings)} mails: {relayed} relayed, {kept_back} held or withheld; "
        + ("all as it must be." if right else "NOT as it must be.")
    )
    tell({"mails": len(endings), "relayed": relayed, "held_or_withheld": kept_back, "right": right})
    return right


async def _settled(stage: Stage) -> list[dict[str, Any]]:
    """The queue once nothing in it is under way any more, or as it stands after a while."""
    deliveries: list[dict[str, Any]] = []
    for _ in range(20):
        deliveries = await stage.command("queue", "list", "--all")
        if not any(each["state"] in PENDING for each in deliveries):
            break
        await asyncio.sleep(0.2)
    return deliveries


def _judge(scene: Scene, reply: Reply, receiver: Receiver, deliveries: list[dict[str, Any]]) -> SceneResult:
    arrivals = tuple(each for each in receiver.arrivals if each.message_id == scene.message_id)
    mine = tuple(each for each in deliveries if each["queue_id"] == reply.text)
    faults = []
    if reply.code != 250:
        faults.append(f"answered {reply}")
    if scene.to is None:
        if arrivals:
            faults.append(f"left for {arrivals[0].recipient}, though it must not leave")
        if [each["reason"] for each in mine] != [scene.reason]:
            faults.append(f"reason {[each['reason'] for each in mine]}, not {scene.reason}")
    elif [each.recipient for each in arrivals] != [scene.to]:
        faults.append(f"arrived at {[each.recipient for each in arrivals]}, not once at {scene.to}")
    else:
        expected = {each.sha256 for each in scene.attached if not each.cut}
        if set(arrivals[0].documents()) != expected:
            faults.append("the documents that arrived are not, octet for octet, those to keep")
    return SceneResult(scene, reply, arrivals, mine, tuple(faults))


def _values(ending: SceneResult) -> dict[str, Any]:
    return {
        "scene": ending.scene.title,
        "recipient": ending.scene.recipient,
        "sent": [each.filename for each in ending.scene.attached],
        "answered": str(ending.reply),
        "arrived": [{"recipient": each.recipient, "documents": each.documents()} for each in ending.arrivals],
        "deliveries": list(ending.deliveries),
        "faults": list(ending.faults),
        "right": not ending.faults,
    }


def _show(number: int, ending: SceneResult, french: Mapping[str, str], say: Say) -> None:
    scene = ending.scene
    say(f"\n{'✗' if ending.faults else '✓'} {number}. {scene.title}")
    say(f"    sent to   {scene.recipient}: {', '.join(each.filename for each in scene.attached)}")
    say(f"    answered  {ending.reply}")
    for arrival in ending.arrivals:
        documents = arrival.documents()
        say(f"    arrived   at {arrival.recipient}")
        for digest, filename in documents.items():
            say(f"              {filename}  sha256 {digest[:16]}…, octet for octet as sent")
        for each in scene.attached:
            if each.sha256 not in documents:
                say(f"    cut       {each.filename} (the original PDF; the button is off)")
    for delivery in ending.deliveries:
        if delivery["reason"]:
            reason = Reason(delivery["reason"])
            say(f"    {delivery['state']:<9} {sentence(reason, delivery.get('detail') or '')}  [{reason}]")
            say(f"              {sentence(reason, french.get(delivery['id'], ''), 'fr')}")
            say(f"    to fix    {fix(reason)}")
    for fault in ending.faults:
        say(f"    NOT RIGHT {fault}")


async def _stay(stage: Stage, say: Say) -> None:
    say(f"""
The daemon goes on. Send your own mail from another terminal:
    swaks --server 127.0.0.1:{stage.smtp} --from me@example.org --to martin@export.relay.example --attach @invoice.pdf
or  curl smtp://127.0.0.1:{stage.smtp} --mail-from me@example.org --mail-rcpt martin@export.relay.example -T mail.eml
What became of it:  agiris-relay queue list --config {stage.config}
Metrics, health:    http://127.0.0.1:{stage.http}/metrics  /healthz  /readyz
Log:                {stage.log}
Ctrl-C ends it and removes the folder.""")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("ending …")
