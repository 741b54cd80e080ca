"""save and load."""

import base64
import io
import os
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest

import flambeau as fb
from flambeau import _atomic
from flambeau.errors import ArgumentError, CheckpointError, UnsafeCheckpointError

NUMPY = [
    fb.bool, fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64, fb.float16, fb.float32, fb.float64, fb.complex64,
    fb.complex128,
]  # fmt: skip


def round_trip(obj, **kwargs):
    f = io.BytesIO()
    fb.save(obj, f)
    f.seek(0)
    return fb.load(f, **kwargs)


def same(a, b):
    return (
        a.dtype is b.dtype
        and a.stride() == b.stride()
        and a.numpy().tobytes() == b.numpy().tobytes()
    )


@pytest.mark.parametrize("d", NUMPY, ids=lambda d: d.name)
def test_every_dtype(d):
    x = fb.from_numpy(np.random.default_rng(0).integers(0, 200, (3, 4)).astype(d.numpy))
    views = [
        x,
        x[1:, ::2],
        x.t(),
        x[0, 0],
        x[:1].expand(5, 4),
        x[:0],
        fb.empty(0, 3, dtype=d),
        x[2, 3].clone(),
    ]
    found = round_trip(views)
    for ours, theirs in zip(views, found, strict=True):
        assert same(ours, theirs)
        assert ours.storage_offset() == theirs.storage_offset()


def test_bfloat16():
    pytest.importorskip("ml_dtypes")
    x = fb.arange(7.0).bfloat16()
    assert same(x, round_trip(x))


def test_views_stay_views_and_memory_is_written_once():
    w = fb.zeros(1000)
    f = io.BytesIO()
    fb.save({"w": w, "head": w[:10], "again": w, "detached": w.detach()}, f)
    assert len(f.getvalue()) < 4000 + 2500
    f.seek(0)
    found = fb.load(f)
    assert found["w"] is found["again"]
    found["head"].fill_(1)
    assert found["w"].sum() == 10 and found["detached"].sum() == 10


def test_many_small_tensors_of_a_large_file(tmp_path):
    many = [fb.full((100_000 + i,), float(i)) for i in range(60)]
    fb.save(many, tmp_path / "x.pt")
    found = fb.load(tmp_path / "x.pt")
    for i, (ours, theirs) in enumerate(zip(many, found, strict=True)):
        assert same(ours, theirs) and theirs.storage_offset() == 0
        theirs.fill_(-1.0)
        assert i + 1 == len(found) or found[i + 1][0] == i + 1
    f = io.BytesIO()
    fb.save(found[3], f)
    assert len(f.getvalue()) < 500_000


def test_gradients_and_graphs():
    leaf = fb.ones(2, requires_grad=True)
    leaf.grad = fb.ones(2)
    found = round_trip([leaf, leaf * 3, fb.ones(2)])
    assert [t.requires_grad for t in found] == [True, True, False]
    assert found[0].grad is None and found[1].is_leaf and found[1].tolist() == [3, 3]


def test_plain_values():
    obj = {
        "numbers": [0, -1, 255, 2**31, -(2**40), 2**90, 1.5, float("inf"), 1 + 2j, True, None],
        "text": ["", "ä\n", b"raw", bytearray(b"x")],
        "sets": [{1, 2}, frozenset("ab"), slice(1, None, 2), range(3)],
        "dicts": [OrderedDict(a=1), defaultdict(list, a=[1]), Counter("aab"), {(1, "x"): 2}],
        "types": [
            fb.float32,
            fb.bool,
            fb.device("cpu"),
            fb.device("opencl:1"),
            fb.Size([2, 3]),
            fb.strided,
        ],
        "numpy": [np.arange(6.0).reshape(2, 3).T, np.float32(2), np.array(["a", "bc"])],
    }
    found = round_trip(obj)
    last, was = found.pop("numpy"), obj.pop("numpy")
    assert found == obj
    assert type(found["types"][4]) is fb.Size and found["types"][0] is fb.float32
    for a, b in zip(last, was, strict=True):
        assert a.dtype == b.dtype and (a == b).all()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(protocol):
    f = io.BytesIO()
    shared = ["x"]
    fb.save([shared, shared, fb.ones(2), b"b", {1}, np.arange(3)], f, pickle_protocol=protocol)
    f.seek(0)
    found = fb.load(f)
    assert found[0] is found[1] and found[2].tolist() == [1, 1] and found[3:5] == [b"b", {1}]


def test_parameters_and_attributes():
    nn = pytest.importorskip("flambeau.nn")
    p, t = nn.Parameter(fb.ones(2), requires_grad=False), fb.ones(3)
    p.tag, t.tag = "p", [1]
    found = round_trip([p, t, nn.Parameter(fb.zeros(1))])
    assert [type(x) for x in found] == [nn.Parameter, fb.Tensor, nn.Parameter]
    assert (found[0].tag, found[1].tag) == ("p", [1])
    assert [x.requires_grad for x in found] == [False, False, True]


def make_training():
    nn, optim = pytest.importorskip("flambeau.nn"), pytest.importorskip("flambeau.optim")
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    return model, optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)


def train(model, opt):
    for i in range(3):
        opt.zero_grad()
        fb.manual_seed(i)
        model(fb.randn(5, 4)).pow(2).mean().backward()
        opt.step()
    return [p.tolist() for p in model.parameters()]


def test_training_goes_on_from_a_checkpoint(tmp_path):
    model, opt = make_training()
    train(model, opt)
    fb.save({"epoch": 3, "model": model.state_dict(), "opt": opt.state_dict()}, tmp_path / "c.pth")
    expected = train(model, opt)
    model, opt = make_training()
    found = fb.load(tmp_path / "c.pth")
    assert str(model.load_state_dict(found["model"])) == "<All keys matched successfully>"
    assert type(found["model"]) is OrderedDict and found["model"]._metadata["1"] == {"version": 2}
    opt.load_state_dict(found["opt"])
    assert train(model, opt) == expected


def test_whole_models_only_when_asked(tmp_path):
    model, _ = make_training()
    path = tmp_path / "m.pth"
    fb.save(model, path)
    for weights_only in (None, True, False):
        with pytest.raises(
            UnsafeCheckpointError,
            match=r"needs flambeau\.nn.*Sequential, .* save model\.state_dict\(\) inst",
        ):
            fb.load(path, weights_only=weights_only)
    found, x = fb.load(path, unsafe=True), fb.ones(3, 4)
    assert fb.equal(found.eval()(x), model.eval()(x))


def test_the_layout_is_pytorchs(tmp_path):
    fb.save({"w": fb.ones(5), "b": fb.zeros(2, dtype=fb.int64)}, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pt") as z:
        assert z.testzip() is None
        assert z.namelist() == [
            f"archive/{n}"
            for n in "data.pkl .format_version .storage_alignment byteorder data/0 data/1 version".split()
        ]
        assert z.read("archive/version") == b"3\n" and z.read("archive/byteorder") == b"little"
        for info in z.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            name, extra = (
                int.from_bytes(data[info.header_offset + k :][:2], "little") for k in (26, 28)
            )
            assert (info.header_offset + 30 + name + extra) % 64 == 0
        code = z.read("archive/data.pkl")
    assert b"ctorch._utils\n_rebuild_tensor_v2\n" in code and b"ctorch\nFloatStorage\n" in code
    assert b"flambeau" not in code and b"numpy" not in code


def test_big_endian_files():
    f = io.BytesIO()
    fb.save(
        [
            fb.tensor([1.5, -2]),
            fb.tensor([1 + 2j]),
            fb.tensor([3], dtype=fb.int16),
            fb.tensor([True]),
        ],
        f,
    )
    out = io.BytesIO()
    with zipfile.ZipFile(f) as z, zipfile.ZipFile(out, "w") as new:
        for n in z.namelist():
            data = z.read(n)
            if "/data/" in n:
                width = {"0": 4, "1": 4, "2": 2, "3": 1}[n[-1]]
                data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
            new.writestr(n, b"big" if n.endswith("byteorder") else data)
    out.seek(0)
    assert [t.tolist() for t in fb.load(out)] == [[1.5, -2], [1 + 2j], [3], [True]]


def test_mmap(tmp_path):
    path = tmp_path / "x.pt"
    fb.save({"w": fb.arange(1000.0), "e": fb.empty(0)}, path)
    found = fb.load(path, mmap=True)
    before = path.read_bytes()
    assert found["w"].sum() == 499500 and found["e"].shape == (0,)
    found["w"].zero_()
    assert path.read_bytes() == before
    with pytest.raises(ArgumentError, match=r"load: mmap=True needs a path, got BytesIO\. Hint"):
        fb.load(io.BytesIO(before), mmap=True)


@pytest.mark.parametrize(
    "where", ["meta", fb.device("meta"), {"cpu": "meta"}, lambda s, loc: fb.device("meta")], ids=str
)
def test_map_location(where):
    assert round_trip(fb.ones(2), map_location=where).device.type == "meta"


@pytest.mark.parametrize(
    "where", ["cpu", {"x": "meta"}, lambda s, loc: s, lambda s, loc: s.cpu(), lambda s, loc: None]
)
def test_map_location_that_stays(where):
    assert round_trip(fb.ones(2), map_location=where).tolist() == [1, 1]


def elsewhere():
    f = io.BytesIO()
    fb.save(fb.ones(2), f)
    out = io.BytesIO()
    with zipfile.ZipFile(f) as z, zipfile.ZipFile(out, "w") as new:
        for n in z.namelist():
            new.writestr(n, z.read(n).replace(b"\3\0\0\0cpu", b"\5\0\0\0hpu:7"))
    out.seek(0)
    return out


def test_devices_that_are_not_here():
    with pytest.raises(
        CheckpointError, match=r"tensors of device 'hpu:7', which is not here .*map_location='cpu'"
    ):
        fb.load(elsewhere())
    assert fb.load(elsewhere(), map_location="cpu").tolist() == [1, 1]
    assert fb.load(elsewhere(), map_location={"hpu:7": "cpu"}).tolist() == [1, 1]
    with pytest.raises(
        ArgumentError,
        match="load: map_location must be a device, a dict, a function or None, got 3.5",
    ):
        fb.load(elsewhere(), map_location=3.5)


def test_meta_tensors():
    found = round_trip(fb.ones(2, 3, device="meta").t())
    assert found.is_meta and found.shape == (3, 2) and found.stride() == (1, 3)


def test_arguments():
    f = io.BytesIO()
    with pytest.raises(ArgumentError, match="save: pickle_protocol must be 2 to 5, got 1"):
        fb.save(1, f, pickle_protocol=1)
    with pytest.raises(
        ArgumentError, match="save: pickle_module must be Python's pickle, got <module 'json'"
    ):
        fb.save(1, f, __import__("json"))
    with pytest.raises(
        ArgumentError, match="save: the layout of PyTorch before 1.6 can be read and not written"
    ):
        fb.save(1, f, _use_new_zipfile_serialization=False)
    with pytest.raises(
        ArgumentError, match="save: f must be a path or a file open for writing bytes, got StringIO"
    ):
        fb.save(1, io.StringIO())
    with pytest.raises(ArgumentError, match="load: pickle_module must be Python's pickle"):
        fb.load(f, pickle_module=3)
    with pytest.raises(
        ArgumentError,
        match="load: f must be a path or a binary file with read, seek and tell, got int",
    ):
        fb.load(3)
    with pytest.raises(ArgumentError, match=r"load: f is open as text\. Hint"):
        fb.load(io.StringIO("x"))
    with pytest.raises(FileNotFoundError):
        fb.load("no such file.pt")


def test_objects_that_cannot_be_saved(tmp_path):
    path = tmp_path / "x.pt"
    fb.save("old", path)
    with pytest.raises(
        CheckpointError, match=r"save: .*lambda.* Hint: save numbers, text, tensors"
    ):
        fb.save({"f": lambda: 1}, path)
    z = fb.zeros(2)
    with pytest.raises(
        CheckpointError, match="save: two tensors view the same memory as float32 and as int32"
    ):
        fb.save([z, z.view(fb.int32)], path)
    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(CheckpointError, match="save: the object is nested too deep"):
        fb.save(nested, path)
    assert fb.load(path) == "old" and os.listdir(tmp_path) == ["x.pt"]


# ---- files of PyTorch

#: torch.save of torch 2.13.0, compressed: a Linear(2, 1) and a BatchNorm1d(1) after one step of SGD with momentum,
#: the optimizer, and a loss that still had its graph.
TORCHS = (
    "c-qBS+m91f7@u}`+frb6K@hnr>#eI$I=vSbcBxpz!DT5IM-<2D^lWEf+UYlQX1OFyNDPGa5AeYU6Q4B3ca1Ob<dZ&Nc<"
    "{jll?US`@jp=KoYO5c2iV2dgp+h8Gjo2I^PO+LukD;PG%N_Qm~h`17uE}^t?9-B+EZ7tnrxppE9Ft)Oki9IcR)zUBOU;"
    "?Elr1z6qU!ltEN>)rs7}~Bc*O=7{Z!nnI_V(VYQt2F}sdzR6pcBiNnxj6^0WsF_B7MKt@ByFrs10Q%@=`HcTh3*r?_jW"
    "?jLk<yf||kd8wnk&vSv#_?vV4FpjJiC0WZ#V6R!IK<=-;e}Q5kayPFF2toUhSkR<K?+IXYp_NNOQCD9c2OrjMlp<4VO)"
    "+-Gc`kXV4dzM=~10AiLhReOCbzTP=>3pfgCn6^phAiRpBYR6me-On*;bXY+?AVUHmq3*v{}fFg#s_XQ;Z!)OQBZ8JJ+`"
    "XS?X<$l-a0egVUaRY=IA6m7e$meFb`O{BJ9GQg6Bml(^-U6x(su$!?YG3=>AN?sdaSx{{d10*>}Gm=b~BufrCMv})+s6"
    "tWRNJ(05Q>m#~(~+ZKTh-2^I+Pe$ch8PmtwwLl_EP>l>|^{>9{=Pd<K2(pKozFl4$R1_yh+~buu9Ss4$|l4giMkbUg^L"
    "gnj8zrcD#&(SEZ2C&4fw^4(q*Z5nk)S5$`(exK2&p;N7y?*k~G;k?qgl*E=AwM5j05Xb0X%NJ0l@<uRJ?P1M3<o$mZRv"
    "f)@DRt1>TY1$p{rCpV!-3hj?lNe4_;j|-#I`F0*1Q$VOfq1JM=riQ-HUqwc;cOM&bzFIkH?^(WYEx<0mfLnfIScP~Kuy"
    "SD?}=$c?eO$Z?A@mMx#SqM!_$9$OU8FJq;<8~Mr6;SE(w&C<*`ynntBP4#NaLDU}RehFu%y?)QdD|&{(8_pSNtJdIdqB"
    "rTJJlNLV~UL#>$zj71vCdDrn$;oK}ucxv8(^Jl?Kuqa7G$W>i=nE1CG2bzJnl%U1pV$lS-PUF$W09CNv<eU_ZH5>nI{m"
    "4U;&)h>R-6mmYuhJzw+f5ZK-L$Ecw{r!L8zPbU@~<D?Cx*!9;WAr<!abR8%~Dj;Xtc;aRLYs<l^#6uSz=)N0{licIlQc"
    "ab;5MdK<yGn7OBCN^1gm_mxgIzY$D>}>i)Z%$u35g^)M<N2y~S_sY-e800so%<_$sk>?Uz=<nv#*63N&K4yJ+*#7em+^"
    "shg2gJ=&QxcdP~)8Q4gXM)=4N_lFK@O%1KriuQ!bDw<Chkj;oeWDkQZM$=5XCM06$E=@w%<<3vAM0O=fpKR7^^yOD!Se"
    "sgj7NHq=>Pr8*Aso{7YBU*W{CFUt)D;bBmSkq<Np<{J=;oCAFixF=BvQH4l_{w&BTfNt&bb0R<8d$g!H`zM3?U%+weNj"
    "WtDs>SB!e4ocxbw#B`=m$cw3Ls+ccjv$<j_Ur6Org>*h8im8&A$>(#KVyZw~hQC=KNq9aI)Mbd6?fLX~>hb%W^S?uQw7"
    "&sw3Lt+U79Q5yc@lpU-4Y-<J|ZmBxp^LcBU~5Y`QFFVYrs6*-^E4)@Y4~2>zzE---UwMA9$?DWBnB@h&>tQuxTFauf9R"
    "-Z62F>bnM9(hs{2^=i59s$7B7~lG9zqVe>rJU+K6w^VkB9^;fDOR*rMn;(f95RT*x*JhsGR{WW4NxZc$QUzK>U|JB_Q%"
    "xNF^!9`_GibQrTm7t;BzCRd(=Rbzn`Qn<TmKGtuBLuBGfqlCki7?DKozLd}3t%SL!2"
)


def test_a_checkpoint_that_pytorch_wrote(tmp_path):
    nn, optim = pytest.importorskip("flambeau.nn"), pytest.importorskip("flambeau.optim")
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(zlib.decompress(base64.b85decode(TORCHS)))
    found = fb.load(path)
    assert found["epoch"] == 7
    assert found["loss"].item() == -5.75 and found["loss"].is_leaf
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    loaded = model.load_state_dict(found["model_state_dict"])
    assert str(loaded) == "<All keys matched successfully>"
    assert model[0].weight.tolist() == [[-1.5, -5.25]] and model[0].bias.tolist() == [-0.75]
    assert model[1].num_batches_tracked.dtype is fb.int64
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.load_state_dict(found["optimizer_state_dict"])
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.5, 0.9)
    model[0](fb.zeros(1, 2)).sum().backward()  # the gradient is 0 for the weight and 1 for the bias
    optimizer.step()
    assert model[0].weight.tolist()[0] == pytest.approx([-1.5 - 0.5 * 3.6, -5.25 - 0.5 * 7.2])
    assert model[0].bias.tolist() == pytest.approx([-0.75 - 0.5 * (0.9 * 3 + 1)])


# ---- files appear whole
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file(where, tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    fb.save("old", path)

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(_atomic.os, where, full)
    with pytest.raises(OSError, match="No space left"):
        fb.save(fb.ones(3), path)
    monkeypatch.undo()
    assert fb.load(path) == "old" and os.listdir(tmp_path) == ["x.pt"]


def test_links_are_followed_and_permissions_kept(tmp_path):
    path, link = tmp_path / "x.pt", tmp_path / "link.pt"
    fb.save("old", path)
    path.chmod(0o640)
    link.symlink_to(path)
    fb.save("new", link)
    assert link.is_symlink() and fb.load(path) == "new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_files_and_devices_are_written_directly():
    fb.save(fb.ones(3), os.devnull)
    assert os.path.exists(os.devnull)
