"""The profiler: rows of kernels, modules and ranges, the trace, schedules, and the kernel table put back."""

import gzip
import json
import os
import threading
import time

import pytest

import flambeau as fb
from flambeau.autograd import engine, node
from flambeau.backend.registry import open_device
from flambeau.kinds import kind_of
from flambeau.ops._source import SCOPE
from flambeau.profiler import (
    ProfilerAction,
    ProfilerActivity,
    _record,
    _session,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from flambeau.profiler._events import EventList, FunctionEventAvg, timed
from flambeau.profiler._record import Label

TABLE = kind_of(fb.device("cpu"), fb.float32).k
X = fb.ones(2, 3)


@pytest.fixture(autouse=True)
def the_table_is_put_back():
    before = TABLE.native()
    others = engine.run, node.next_seq, SCOPE["next_seq"], node.AccumulateGrad.apply
    yield
    after = TABLE.native()
    assert after.keys() == before.keys()
    assert all(after[k] is before[k] for k in before)
    assert not _record.ACTIVE
    assert not _session._RUNNING
    assert others == (engine.run, node.next_seq, SCOPE["next_seq"], node.AccumulateGrad.apply)
    assert "__init_subclass__" not in vars(node.Node)


def rows(prof, **by):
    return {row.key: row for row in prof.key_averages(**by)}


def test_kernels_become_rows():
    with profile() as prof:
        for _ in range(3):
            y = X @ X.mT
        y.exp()
    found = rows(prof)
    assert found["matmul"].count == 3
    assert found["matmul"].kind == "op"
    assert found["exp"].count == 1
    assert found["exp"].cpu_time_total > 0
    assert found["matmul"].cpu_time == found["matmul"].cpu_time_total / 3
    assert found["exp"].device_time_total == 0.0


def test_backward_and_other_threads_are_seen():
    w = fb.ones(3, requires_grad=True)
    with profile() as prof:
        (w.sin() * 2).sum().backward()
        thread = threading.Thread(target=lambda: X.tanh())
        thread.start()
        thread.join()
    found = rows(prof)
    assert found["cos"].count == 1  # only the derivative of sin needs it
    threads = {e.thread for e in prof.events() if e.name in ("sin", "tanh")}
    assert len(threads) == 2


def test_ranges_nest_and_their_self_time_leaves_out_what_is_inside():
    with profile() as prof, record_function("outer"):
        time.sleep(0.002)
        with record_function("inner"):
            time.sleep(0.004)
            X.exp()
    found = rows(prof)
    outer, inner = found["outer"], found["inner"]
    assert outer.cpu_time_total >= inner.cpu_time_total >= 4000
    assert outer.self_cpu_time_total == pytest.approx(
        outer.cpu_time_total - inner.cpu_time_total, abs=1e-6
    )
    assert inner.self_cpu_time_total == pytest.approx(
        inner.cpu_time_total - found["exp"].cpu_time_total, abs=1e-6
    )
    total = prof.key_averages().total_average()
    assert total.self_cpu_time_total == pytest.approx(outer.cpu_time_total)


def test_self_times_of_written_down_events():
    a, b, c = (Label("range", n) for n in "abc")
    events = [(10, 20, 1, b, None, ""), (0, 100, 1, a, None, ""), (30, 60, 1, b, None, "")]
    events += [(32, 40, 1, c, None, ""), (5, 50, 2, c, None, "")]
    found = [(e.name, round(e.self_cpu_time_total * 1e3)) for e in timed(events, 0)]
    assert found == [("a", 60), ("c", 45), ("b", 10), ("b", 22), ("c", 8)]


def test_record_function_decorates_and_is_idle_without_a_profile():
    @record_function("work")
    def work():
        return X.exp()

    work()
    with profile() as prof:
        work()
        work()
    assert rows(prof)["work"].count == 2


def test_a_range_around_the_profile_is_no_part_of_it():
    with record_function("around"), profile() as prof:
        X.exp()
    assert "around" not in rows(prof)


def test_modules_become_rows():
    nn = pytest.importorskip("flambeau.nn")
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    call = nn.Module.__call__
    with profile() as prof:
        net(X)
        net(X)
        with pytest.raises(RuntimeError):
            net(fb.ones(2, 5))
        net[0](X)
    assert nn.Module.__call__ is call
    found = rows(prof)
    assert found["Sequential"].count == 3
    assert found["Sequential.0 (Linear)"].count == 4
    assert found["Sequential.1 (ReLU)"].count == 2
    assert found["Sequential"].kind == "module"
    assert found["Sequential"].self_cpu_time_total < found["Sequential"].cpu_time_total


def test_an_exception_puts_everything_back_and_keeps_what_was_recorded():
    prof = profile()
    with pytest.raises(RuntimeError, match="matmul"), prof:
        fb.matmul(X.exp(), X)
    assert {"exp", "matmul"} <= rows(prof).keys()


def test_two_profiles_at_once_are_refused():
    with profile() as prof:
        with pytest.raises(RuntimeError, match="another profile is running.*Hint: one profile"):
            profile().start()
        with pytest.raises(RuntimeError, match="this profile is running. Hint: stop"):
            prof.start()
        X.exp()
    assert rows(prof)["exp"].count == 1
    with profile() as again:
        X.exp()
    assert rows(again)["exp"].count == 1


def test_results_before_the_end_are_refused():
    prof = profile()
    with pytest.raises(RuntimeError, match="nothing is recorded yet. Hint: read the results after"):
        prof.key_averages()
    with pytest.raises(RuntimeError, match=r"step\(\) needs a running profile"):
        prof.step()
    prof.stop()


def test_entries_that_someone_else_exchanged_are_left_alone():
    plain = TABLE["exp"]
    prof = profile()
    prof.start()
    TABLE["exp"] = other = lambda *a, **k: plain(*a, **k)
    prof.stop()
    assert TABLE["exp"] is other
    TABLE["exp"] = plain


def test_shapes_and_lines():
    with profile(record_shapes=True, with_stack=True) as prof:
        X @ X.mT
        fb.ones(4, 5).exp()
        X.exp()
    shapes = [
        row.input_shapes for row in prof.key_averages(group_by_input_shape=True) if row.key == "exp"
    ]
    assert sorted(s[0] for s in shapes) == [[2, 3], [4, 5]]
    assert rows(prof)["exp"].count == 2
    lines = [row.stack[0] for row in prof.key_averages(group_by_stack_n=1) if row.key == "exp"]
    assert len(lines) == 2
    assert all("test_profiler.py(" in line and "test_shapes_and_lines" in line for line in lines)
    text = prof.key_averages(group_by_input_shape=True, group_by_stack_n=1).table()
    assert "Input Shapes" in text
    assert "Source Location" in text


def test_the_table():
    with profile() as prof:
        for _ in range(3):
            X.exp()
        fb.ones(300, 300) @ fb.ones(300, 300)
    averages = prof.key_averages()
    by_count = averages.table(sort_by="count", row_limit=1, header="counts").splitlines()
    assert by_count[0] == "counts"
    assert by_count[4].split()[0] == "exp"
    assert by_count[4].split()[-1] == "3"
    assert len(by_count) == 8
    assert by_count[6].startswith("Recorded: ")
    assert ", outside of all rows: " in by_count[6]
    by_time = averages.table(sort_by="self_cpu_time_total")
    assert by_time.splitlines()[3].split()[0] in ("matmul", "fill")
    assert by_time.rstrip().splitlines()[-1].startswith("Self CPU time total: ")
    assert str(averages) == averages.table()
    assert "Device total" not in by_time
    averages.table(sort_by="cuda_time_total")
    with pytest.raises(ValueError, match="table: sort_by='nosuch' is none of count, cpu_time"):
        averages.table(sort_by="nosuch")


def test_names_of_columns():
    row = FunctionEventAvg("x", "op", count=2, cpu_time_total=3000.0, device_time_total=4.0)
    row.self_device_memory_usage = 7
    assert row.cuda_time_total == row.xpu_time_total == 4.0
    assert row.self_cuda_memory_usage == 7
    assert (row.cpu_time_str, row.cpu_time_total_str) == ("1.500ms", "3.000ms")
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        row.nosuch
    for name in ("cuda_time_total", "self_xpu_memory_usage", "key", "flops"):
        EventList([row]).table(sort_by=name)


def test_long_names_keep_both_ends():
    row = FunctionEventAvg("Net.encoder.layers.11 (TransformerEncoderLayer) backward", "module")
    (line,) = EventList([row]).table(max_name_column_width=30).splitlines()[3:4]
    assert line.startswith("Net.encoder.la...yer) backward  ")


def test_top_level_rows():
    with profile() as prof, record_function("outer"):
        X.exp()
    text = prof.key_averages().table(top_level_events_only=True)
    assert "outer" in text
    assert "exp" not in text
    assert prof.events().total_average().key == "Total"
    (outer,) = [e for e in prof.events() if e.cpu_parent is None]
    assert outer.time_range.elapsed_us() == outer.cpu_time_total == outer.cpu_time
    assert repr(outer).startswith("<FunctionEvent outer at ")


def test_time_outside_of_all_rows():
    with profile() as prof:
        X.exp()
        time.sleep(0.01)
    note = prof.key_averages().table().splitlines()[-2]
    whole, outside = note.removeprefix("Recorded: ").split(", outside of all rows: ")
    assert float(outside.removesuffix("ms")) >= 10
    assert float(whole.removesuffix("ms")) >= float(outside.removesuffix("ms"))


def test_flame_graph_lines(tmp_path):
    with profile() as prof, record_function("a; b"):
        time.sleep(0.001)
        for _ in range(50):
            X.exp()
    path = tmp_path / "stacks.txt"
    prof.export_stacks(path)
    lines = dict(line.rsplit(" ", 1) for line in path.read_text().splitlines())
    assert int(lines["a__b"]) >= 1000
    prof.export_stacks(str(path), "self_cuda_time_total")
    assert path.read_text() == ""
    with pytest.raises(
        ValueError, match="export_stacks: metric must be self_cpu_time.*got 'count'"
    ):
        prof.export_stacks(path, "count")


def test_the_trace_names_threads_and_follows_memory(tmp_path):
    done = threading.Event()

    def work():
        X.tanh()
        done.wait()

    with profile(profile_memory=True) as prof:
        X.exp()
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        while not any(e[3].name == "tanh" for e in _session._RUNNING[0].recorder.events):
            time.sleep(0.001)
    done.set()
    thread.join()
    prof.add_metadata("run", "7")
    prof.preset_metadata_json("sizes", "[1, 2]")
    prof.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert (trace["run"], trace["sizes"]) == ("7", [1, 2])
    events = trace["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    tids = {e["name"]: e["tid"] for e in events if e["ph"] == "X"}
    assert (names[tids["exp"]], names[tids["tanh"]]) == ("MainThread", "worker")
    assert [e["args"]["bytes"] for e in events if e["ph"] == "C"] == [24, 0, 24, 0]
    for e in events:
        assert e["ph"] in "XCM"
        assert {"name", "pid", "ts", "args"} <= e.keys()
        assert e["ph"] != "X" or (e["dur"] >= 0 and {"tid", "cat"} <= e.keys())


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_the_chrome_trace(tmp_path, name):
    with profile(record_shapes=True) as prof, record_function("range"):
        X.exp()
    path = tmp_path / name
    path.write_text("old")
    prof.export_chrome_trace(path)
    data = path.read_bytes()
    trace = json.loads(gzip.decompress(data) if name.endswith("gz") else data)
    events = {e["name"]: e for e in trace["traceEvents"]}
    exp, around = events["exp"], events["range"]
    assert exp["ph"] == "X"
    assert (exp["cat"], around["cat"]) == ("cpu_op", "user_annotation")
    assert exp["args"] == {"Device": "cpu", "Input Dims": [[2, 3]]}
    assert around["ts"] <= exp["ts"]
    assert exp["ts"] + exp["dur"] <= around["ts"] + around["dur"]
    assert os.listdir(tmp_path) == [name]


def test_a_trace_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    with profile() as prof:
        X.exp()
    path = tmp_path / "trace.json"
    path.write_text("old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        prof.export_chrome_trace(str(path))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["trace.json"]


def test_schedules():
    plan = schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=2)
    names = [plan(i).name for i in range(11)]
    once = ["NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"]
    assert names == ["NONE", *once, *once, "NONE", "NONE"]
    endless = schedule(wait=0, warmup=0, active=1)
    assert endless(7) is ProfilerAction.RECORD_AND_SAVE
    early = schedule(wait=2, warmup=0, active=1, skip_first=1, skip_first_wait=1)
    assert [early(i).name for i in range(3)] == ["NONE", "RECORD_AND_SAVE", "NONE"]
    with pytest.raises(ValueError, match="schedule: .*active > 0, got wait=0, warmup=0, active=0"):
        schedule(wait=0, warmup=0, active=0)


def test_scheduled_steps_are_handed_over():
    handed = []

    def ready(prof):
        found = rows(prof)
        steps = sorted(e.name for e in prof.events() if e.name.startswith("ProfilerStep"))
        handed.append((prof.step_num, found["exp"].count, steps))
        assert found["ProfilerStep*"].count == 2

    with profile(schedule=schedule(wait=1, warmup=1, active=2), on_trace_ready=ready) as prof:
        for _ in range(8):
            X.exp()
            prof.step()
    assert handed == [
        (4, 2, ["ProfilerStep#2", "ProfilerStep#3"]),
        (8, 2, ["ProfilerStep#6", "ProfilerStep#7"]),
    ]


def test_recordings_may_be_kept():
    plan = schedule(wait=0, warmup=0, active=1, repeat=3)
    with profile(schedule=plan, acc_events=True, profile_memory=True) as prof:
        for _ in range(4):
            X.exp()
            prof.step()
    found = rows(prof)
    assert found["exp"].count == found["ProfilerStep*"].count == 3
    assert found["ProfilerStep*"].cpu_memory_usage == 0
    starts = [e.start for e in prof.events() if e.name == "exp"]
    assert starts == sorted(starts)
    assert starts[0] < starts[2]


def test_recordings_back_to_back_are_separate():
    handed = []
    plan = schedule(wait=0, warmup=0, active=1, repeat=2)
    with profile(
        schedule=plan, on_trace_ready=lambda p: handed.append(rows(p)["exp"].count)
    ) as prof:
        for n in (1, 2, 3):
            for _ in range(n):
                X.exp()
            prof.step()
    assert handed == [1, 2]


def test_without_a_schedule_the_end_hands_over():
    handed = []
    with profile(on_trace_ready=handed.append) as prof:
        prof.step()
        X.exp()
    assert handed == [prof]
    assert not any(k.startswith("ProfilerStep") for k in rows(prof))


def test_tensorboard_handler(tmp_path):
    folder = tmp_path / "log"
    with profile(on_trace_ready=tensorboard_trace_handler(str(folder), "worker")):
        X.exp()
    (name,) = os.listdir(folder)
    assert name.startswith("worker.")
    assert name.endswith(".pt.trace.json")


def test_asynchronous_devices_are_waited_for_if_asked(monkeypatch):
    waits = []
    dev = open_device(fb.device("cpu"))
    caps = type("Caps", (), {"asynchronous": True})()
    monkeypatch.setattr(dev, "caps", caps, raising=False)
    monkeypatch.setattr(dev, "synchronize", lambda: waits.append(1))
    with profile(activities=[ProfilerActivity.CPU]):
        TABLE["exp"](X._a, out=...)
    assert not waits
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]):
        TABLE["exp"](X._a, out=...)
    assert waits == [1]


def test_activities():
    assert ProfilerActivity.CPU in supported_activities()
    with pytest.raises(ValueError, match="profile: activities is empty. Hint: activities="):
        profile(activities=[])
    cpu = [ProfilerActivity.CPU]
    assert profile(activities=cpu, use_cuda=True).activities == {*cpu, ProfilerActivity.CUDA}
    assert profile(use_cuda=False).activities == set(cpu)


def test_the_older_names():
    from flambeau.autograd import profiler

    options = {"use_cuda": True, "record_shapes": True, "profile_memory": True}
    with profiler.profile(**options) as prof, profiler.record_function("work"):
        X.exp()
    assert [e.name for e in prof.function_events] == ["work", "exp"]
    assert prof.total_average().count == 2
    assert prof.self_cpu_time_total > 0
    assert "exp" in str(prof)
    assert "work" in prof.table(sort_by="cpu_time_total", row_limit=1)
    assert rows(prof)["exp"].cpu_memory_usage == 24
    with profiler.profile(enabled=False) as idle:
        X.exp()
    assert "object at" in str(idle)
    with pytest.raises(RuntimeError, match="nothing is recorded yet"):
        idle.key_averages()
    assert fb.autograd.profiler is profiler
    with pytest.raises(
        AttributeError, match="module 'flambeau.autograd' has no attribute 'nosuch'"
    ):
        fb.autograd.nosuch
