"""Checkpoints that cross between flambeau and PyTorch, and what programs put into them."""

import argparse
import base64
import enum
import io
import pathlib
import zipfile
import zlib
from collections import Counter, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import (
    ArgumentError,
    CheckpointError,
    UnsafeCheckpointError,
)
from flambeau.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)

# torch.save of torch 2.13.0, compressed: zlib.compress(data, 9), base64.b85encode.
#: What programs save, with protocol 2.
ZIP = (
    'c-pO4349z?8J|76NvCbD7J5+1<*}8r&F&`IO|O(~-6EqQnI5jexXkWOGE*iq`DWgxO?9=EZVo^!SQSu_D&U3p0eG~PdW%PqYEiHVD&Pg4sI}rd'
    'CYzZFY1+j3W#7!s`~Khm|K9uF_q|Pr5D0Qybu~BPs^c0s$;>P2fV{FGAt};-t(H#Ja9yrzx4#5jI1|DEOOZ^u0KRVUhx5q5&`7q3RL$bErkpFP'
    'S|N*M-7?JVK#Ye#IGm{>C~PV9$`E7_KCKxN+RR?^Fe~H3HjNO<1n@oIUxX?lgrK@p;Dk^aW(&SD@T2*>p=oj+sfKRxSD6JF>)5E~5f5{gi!c|#'
    'JP~RX%%}vFSxQKuK59D!zYr)x9q~~=su0r#1oK5$;59vm&;<nl5S%OcguoCiWaf(yEEZvj*Ze$U&Xr*)@q9irU54NS5iazaUeqc0mM>=}7bCbt'
    'gqL|uUe3sUL+}dxfN!s4=3xZ5eU+REl9@5|?QkiB+7r3K=<C<yo$mQuLFY3Hmto(21QFufUxt-LX(RI+EkSJDXMDs$&?G`LT>xF~g_bda)Kv@;'
    '*i{fg5|4zqY9-Ao=4y2b)>Lq7iKlfUw9#eH6?=MQ(}MNgaCs$KSa^(wOOI*vWzk^2Od}>0Rs#0ewlG83;7}5WjaZ2f!K=xj@OaXs*~FAwf#5YI'
    'xH6pKv1LCdRxM11Kp3HKvZ|G3ir}>)MFg)Cp<N+-ij$!Uu3`)wHbW<AM8>cg!Ilzi4J*Q^LVau#;q`K67U7djsSh%f><QW{BiYREP?3_gkc99;'
    'y&>$H=4R+(D|WTLVs9kW-HiH82(ltvGeW;eCCG*8q$8;p@)V7rkRdxf+i$7^*geSI&?ERHtg=@Gg^AQ8RR?wAs9Rt=qrTRr)(CYUqsCKcl%QY9'
    'mjI}>1g7A#@Jd@EAR0!Rv}+KG_TY6rQW-D5RabQtsgkDdk_#P`*Dx?rh8-g8q`JuRTQJxSyX-LGH)C@i-b{Ay5WJ-fB@y0gcNOFTHIF;r#saul'
    'kYG32GJ8aLyKR!|AsZsv!ozj8CQCM{28rYkKHDp!tR@W_MVvnNX66wI%nX@o0q3`J8HPj{X8TSudo38r;~O59CG+ig3|7BHG>k6a1J{?}hH%DD'
    'X2FCTH?=)*8@X<$%YzBv9r=C<DVmz&JBp^<VOZ+U4*Y_Ln-r5yXAa&u1p7p|xtODTI}}-mTk<#`%Si2$`N{*lE1%691vzi=vQ8d&*q@n$5miU-'
    '^7#WnJe47MH_g);9;hCL_YA>%MYwg`7io4GI!4~+ep!$;B=K-N$!Y>O4DS=+{bl%o2zLy@2SvD(Zs-BBsSF(s*t1I8to@eXLcVRYzrcs+ri(?Q'
    '@kryPB&mP640r8;yXg>d5J+&(B%6hFj#Uxe$Xa80?IUBsL0319v&BbQ!u}Xb*dHH7@Cgy_rE6gn;FC0ZKc$dhEy1TVv&rrt&Pk<%&(Pk_W=I)?'
    '&z0cw$^jD8R*sHTFZSg~>iR-Ad@+3e?6G>e{>m5emCt60Qar=iET3m7n1?TIYI~kpZCY=e55avR+^_7XijEwD2Nb*@Ul!pju41;qDC%@ie6<8$'
    '3)?&Fpy0QI<B;Ghmf^4nUw5Gja*tHhP=S`f2VIghL+|C`NEyB%!Z+#gJxD0x>HOAmAvgrz7U4T#lGSCG3rnMW?7M=mUGNXX_eA)<tAD2{>10hF'
    'Vs&d6ejvgR*>+KNWWkTR;m2WDsY)4!Rw+?O>DUtRFv~hWv9r!2B<mbwS?8w+ekQ_kce%r-kBW~+sgET5oaO6Z*!lV~(mc+5{1U+l5uR}Q*sK`l'
    'c&+>ub<zq?GAB=ACu61h*9d+i!f##RjYcu2$rbd|bYY{7@C<`L>wy0b!S6-*gA0Czr1ez5e`Me&{E2~|vj^}zY5vR-{a+CLRfNB>5`$y1e-QrO'
    '4gUz|>2m~U15=Ll;V@7o)076u9>NtJXR#uQiWis}uNPP^{F9tm{-x|!4v|3ow+JVP;XfjrA_0I;N&mI&3nU-&@FEqcHkllrqtTIJ(}(Y(>BntY'
    '2+)aJX9n=Cy}h083)%=AGK2VKZWPD;-0`C(G54FZ@C|dDA?m6Mx5%s}){~9M%1fGL^5$#;WQux{CT}a6L*2}EC|YCAdnrXVgaZqz>}2l9{cUEg'
    't)`B;smJY**+8G?lb#n8GGXQd@_cgGJcst2OUcMF$XqzCX=}_}WNTVX&6Y4t+if*MwGb4lk$K+O%+!%xZcE9LI)*>yQd`gY)WtG7I~NdyT#R%G'
    'Rn<@GvAt!S@X4oR(nI}1uBCFQkMtO3pM=J8bUGFDobAu#iW2Voo_p*%pS_Ngb1&f%<J@-U&f>z`tM}ofSUMG-27Omc6A{q11D+*Q?LV!6dakV^'
    'AUB9)gZxrRr&dpgckI$sgfy9GD6f5LF)6R1(`u;U*13LFt!zxER?R>F^SZl@6d?SEKfCeg&h<pm!hKKQya;zJnnKYEx1wk|73R*I-^G21@IHF-'
    '?tAL!FUZsLHo19Y=~N?k_T&G*@yDmjPdK-4KX5OpaKR}!*Sk5J(y28w2|v32gn#LYjTcRWzj@~ThspdOCK^_)IPnl6t)4=|8n=d)bSlYBpP#Hh'
    'TZ4U_p<~nFPt1hhM`!=wB@bq%&ObF=%FUcir`FAA_Pe@H5&9KUP5spQw}#u`rf*HB+Ga@KRYk|2+<R-y)Z?$^F85>_ocz|#Oab#8r1|dD)wk@J'
    'di`s;)gBc%;U%W4f;&i<(T!Z+*^R$abZ0pJI8XSG-qE{tYW`(hY`g%|p}T(iX4OJE6*)^e(RgD^YjYx&jK!0QL^P31#uAOq&G9&Hnp+wh<FS_3'
    ')?~7gs9c@C;leQ15vD4AL~KQ;^Y~IXLAm$;kY2R&0J6}9JT`}$?7-u7;ygqwaXIOn%bn)r;`QS^2-Lg$JnZmOIe>WK&Z=GGf^VD0dCm@Ath4gD'
    'vCnw1(KE+hQ{%zLyjW-Tb7P<IV&h({vvRqyTWUSnCNI`maopHPyx3+h)>$pwSaJY&S12#mneW}$<6dmSi*+VzH&(3oV3S^~GtauQN4?lqFV>kI'
    'Yu&sJ-q@HBSk46J1|OdQo)B5i?Brpd&v`SV7wk+L%iO!k0e<Op)**yKE5?#v;Iay`!E={`?7njWyJH;rM-TV-qVeCS9m1>-!!%HPX8S++{Ec}'
)  # fmt: skip
#: A frozenset, a set, a memory format, a dtype, bytes and arange(6.0), with protocol 4.
PROTOCOL_4 = (
    'c-o~@%Wl&^6dmW`M6{$$Sfpf;ZH=I596K)%q%z1Xyl5zb1ro9xXGknuyV#TPSVclvAX%b;fhFP>Sh3?55UgRv0<q#37{{q=J56}qWIXbW&$(x='
    '&vjdhCjdyN!Cb6^98fH^uMOdLS3yeY;Jz*j8E_{Qqr|JvGr(QUFb>th4yE7;evTQ5l46I>Dl!R6Ngg0gx3P1^yH)#&VL;uMb;U;bC3ce2buw!P'
    's_|syD)k8WlTJ>yU}vD|T^T{cHZ6HrA)6#q$|eY<2alnvqHZea=4_d8Qf2JK)q??+XoPP_K%&Q3qQ>}{v!a^14ppR?2GO*#YjvRoyVo?;)pBkR'
    'BfN)UsV$|_r$6kz`$|sdj`qT0<w4OeR_UH;?JGzgLdz!nqELv`EEuet<NePsPbtDeEzMB?_2V3~!^?`U^^ARJAW`6!q*)j>-WAY#_~1v3q=+pQ'
    'kOeJYK<6=nrdu^pxb!c1k3!cF(xIzieEHj1nq;AuYRG^qAy;mfMd9Lq2=G`(Eppi*e=<g7yxnmX<qyA4Hps@tQblXvysyZA<(q#hi96+H`t+uE'
    '>-Y69g37T0riZtor4a`_QCuU-T2~ZGe_0E*TCX(NX0yt&jVfQ`xpJjeCO@8KIgYK@IKINOO?GP2&Fi<b4AH?%RZ^~4UuUpQ*5{N*zavp}umSQR'
    '<Q4@MHCB`)XyQVMWD+Eq>zpW0(1_U(Pc8=L8z2e~x+W8Xzm9>3cca*#57t6hCJv%5i-Lo%rx*gi2!KyEPFtes3r9AKZ~4enWd2Bbb0gu+1UKDE'
    '(cZoH1xwN%CN+KDd-fNTBXtu'
)  # fmt: skip
#: Two objects one after the other, with _use_new_zipfile_serialization=False.
LEGACY = (
    'c-qZTOHaZ;5bhIn6~x!Uo5y+~qzK|k4u(s8ftOxLQ`-%#X}V0i#b`p(3yJs}Jb3i4`4db$IHizif(PTp&F*Y=cIKOJ=1Zj~5_~*&-uG``ulA~`'
    'bp9rz9fP2m6+sY&5#!8Zfi<F0?6VL=3@}Uh6Zo75)S{v5+aXAgCP62^A5ts!A7~8n7!=J^(HVOz;-DImDdWozITQ@VR5A<}4xnf#NwTOZqW2C&'
    'hqK7>s#e1NASPBsZxTOnEl$IjMb=0sAZeOe%)l|y9#D|;6w(Qp&98GO0mUq1%<*BXrq>P|ExlH+H$k28aE1x;C|qzTb`8NOOkl+jC$Ktou-$+<'
    '9J`IlW#rO`x~IOw36O&xtZ`WHL1{*G1Z59-c(S*&&W4xcSGtB|$P?Ji@VBO32D8m!rw6-P-+d64Ws7#TAbefv37R%;JSm=+cKUzB>t{7HzA<%J'
    '=>A2)GsOK#z{XLtu749yTnH%sPC&YB@;N+CUYyTdo!_4gSK1W'
)  # fmt: skip


def unpacked(text):
    return io.BytesIO(zlib.decompress(base64.b85decode(text)))


def saved(obj, **kwargs):
    f = io.BytesIO()
    fb.save(obj, f, **kwargs)
    f.seek(0)
    return f


def round_trip(obj, **kwargs):
    return fb.load(saved(obj, **kwargs))


def rewritten(f, change):
    """An archive whose entries went through change(name, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(f) as z, zipfile.ZipFile(out, "w") as new:
        for n in z.namelist():
            new.writestr(n, change(n, z.read(n)))
    out.seek(0)
    return out


# ---- what PyTorch wrote
def found_in_zip():
    pytest.importorskip("flambeau.nn")  # whose parameters are in it
    return fb.load(unpacked(ZIP))


def test_tensors_of_pytorch():
    found = found_in_zip()
    w, middle, turned, empty, one, wide = found["shared"]
    assert w.tolist() == [0, 1, 2, 3, 4, 5] and turned.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert turned.stride() == (1, 3) and wide.stride() == (0, 1) and empty.shape == (0,)
    assert one.shape == () and one.item() == 1
    middle.fill_(9)
    assert w.tolist() == [0, 1, 9, 9, 9, 5] and turned[2, 0] == 9
    assert found["conj"].tolist() == [1 - 2j, 3 + 1j] and found["neg"].tolist() == [-2, 1]
    assert found["plain"].tag == {"a": 1}
    dtypes = [(t.dtype, t.tolist()) for t in found["ints"]]
    assert dtypes == [
        (fb.bool, [True, False]),
        (fb.int8, [-3]),
        (fb.int16, 7),
        (fb.float64, 2.5),
        (fb.float16, [-1.5]),
    ]
    assert [t.requires_grad for t in found["ints"]] == [False] * 4 + [True]
    assert found["meta"].is_meta and found["meta"].stride() == (1, 3)


def test_parameters_and_buffers_of_pytorch():
    found, nn = found_in_zip(), fb.nn
    p, (kept, passing) = found["param"], found["buffers"]
    assert type(p) is nn.Parameter and p.tolist() == [1.5, -2] and p.requires_grad
    assert (p.tag, p._private) == ("t", [1])
    assert type(kept) is type(passing) is nn.Buffer
    assert (kept.persistent, passing.persistent) == (True, False)
    assert nn.parameter.is_lazy(found["lazy"]) and found["lazy"].requires_grad


def test_plain_values_of_pytorch():
    found = found_in_zip()
    assert found["types"] == [fb.Size([2, 3]), fb.device("cuda:1"), fb.bfloat16, fb.strided]
    assert found["args"] == argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("a/b"))
    assert found["when"] == datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert found["version"] == "2.13.0+cpu"
    assert found["od"]._metadata == {"": {"version": 1}}
    numbers = [2**70, -1, 1 + 2j, b"\xff", Counter("aab"), {"a": 1}, deque([1, 2], 4)]
    assert found["numbers"] == [*numbers, slice(1, None, 2), range(3)]
    assert found["numbers"][5].default_factory is int and found["numbers"][6].maxlen == 4
    whole, number, text = found["numpy"]
    assert whole.tolist() == [0, 1, 2] and number == 1.5 and text.tolist() == ["a", "bc"]


def test_protocol_4_of_pytorch():
    frozen, plain, form, d, data, w = fb.load(unpacked(PROTOCOL_4))
    assert (frozen, plain, form, d, data) == (
        frozenset("ab"),
        {1, 2},
        fb.channels_last,
        fb.int64,
        b"x",
    )
    assert w.tolist() == [0, 1, 2, 3, 4, 5]


def test_old_files_of_pytorch_may_hold_several_objects():
    f = unpacked(LEGACY)
    first = fb.load(f)
    first["v"].fill_(0)
    assert first["w"].tolist() == [0, 1, 0, 0, 0, 5]
    word, number = fb.load(f)
    assert word == "second" and number.tolist() == [5]
    with pytest.raises(CheckpointError, match="load: the file is empty"):
        fb.load(f)
    moved = fb.load(unpacked(LEGACY), map_location="meta")
    assert moved["w"].is_meta


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("_rebuild_sparse_tensor", r"holds a sparse tensor, .* Hint: save t\.to_dense\(\) with Py"),
        ("_rebuild_qtensor", r"holds a quantized tensor, .* Hint: save t\.dequantize\(\)"),
        ("_rebuild_nested_tensor", r"holds a nested tensor, .* Hint: save t\.unbind\(\)"),
        ("_rebuild_device_tensor_from_numpy", r"a tensor of another device, .* save t\.cpu\(\)"),
    ],
)
def test_tensors_that_flambeau_does_not_have(function, message):
    code = f"\x80\x02ctorch._utils\n{function}\n)R.".encode("latin1")
    f = rewritten(saved(1), lambda n, data: code if n.endswith("pkl") else data)
    with pytest.raises(CheckpointError, match=message) as caught:
        fb.load(f)
    assert not isinstance(caught.value, UnsafeCheckpointError)


@pytest.mark.parametrize("name", ["uint16", "float8_e4m3fn", "complex32", "QInt8Storage"])
def test_dtypes_that_flambeau_does_not_have(name):
    code = f"\x80\x02ctorch\n{name}\n.".encode("latin1")
    f = rewritten(saved(1), lambda n, data: code if n.endswith("pkl") else data)
    with pytest.raises(
        CheckpointError,
        match=rf"holds torch\.{name}, and flambeau has no such dtype\. Hint: .*t\.to\(torch",
    ):
        fb.load(f)


def test_storages_are_not_values():
    pid = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\3tQ."
    f = rewritten(
        saved(fb.ones(3)), lambda n, data: b"\x80\x02" + pid if n.endswith("pkl") else data
    )
    with pytest.raises(CheckpointError, match="holds 'storage' itself as a value"):
        fb.load(f)


# ---- what flambeau writes
PLAIN = [
    frozenset("ab"), {1, 2}, deque([1, [2]], 3), defaultdict(int, a=1), defaultdict(str, a="b"),
    defaultdict(list, a=[1]), defaultdict(None, a=1), Counter({1: 2}), argparse.Namespace(a=1, b=[2]),
    SimpleNamespace(a=1),
    datetime(2020, 1, 2, 3, 4, 5), date(2020, 1, 2), time(3, 4, tzinfo=timezone(timedelta(hours=1), "x")),
    timedelta(days=1.5), pathlib.Path("a") / "b", pathlib.PurePosixPath("/a"), pathlib.PureWindowsPath("c:/a"),
    slice(1, None), range(1, 9, 2), fb.channels_last, fb.contiguous_format, fb.preserve_format, fb.channels_last_3d,
]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=lambda v: type(v).__name__)
def test_plain_values(value, protocol):
    found = round_trip([value, value], pickle_protocol=protocol)
    assert found[0] == value and type(found[0]) is type(value)
    assert getattr(found[0], "default_factory", None) is getattr(value, "default_factory", None)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_values(protocol):
    values = [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.array(["a", "\U0010ffff"]),
        np.array([True, False]),
        np.zeros((0, 2)),
        np.float16(1.5),
        np.bool_(True),
        np.array(["b"], ">U1"),
    ]
    found = round_trip(values, pickle_protocol=protocol)
    for a, b in zip(found, values, strict=True):
        assert np.array_equal(a, b)
        assert a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
    with pytest.raises(CheckpointError, match="a NumPy dtype 'M8'? cannot be read, it holds nei"):
        round_trip(np.array(["2020-01-01"], "M8[D]"), pickle_protocol=protocol)


def test_buffers_and_lazy_parameters():
    nn = pytest.importorskip("flambeau.nn")
    buffers = [nn.Buffer(fb.ones(2)), nn.Buffer(fb.zeros(1), persistent=False)]
    buffers[0].tag = 1
    found = round_trip(buffers)
    assert [type(b) for b in found] == [nn.Buffer] * 2 and found[0].tag == 1
    assert [b.persistent for b in found] == [True, False]
    state = round_trip(nn.LazyLinear(4).state_dict())
    assert all(nn.parameter.is_lazy(p) for p in state.values()) and len(state) == 2
    code = zipfile.ZipFile(saved([*buffers, nn.LazyLinear(4).weight])).read("archive/data.pkl")
    assert b"flambeau" not in code and b"ctorch.nn.parameter\nUninitializedParameter\n" in code


def test_attributes_of_tensors():
    x = fb.ones(2)
    x.tag, x._private = "a", [1]
    assert vars(round_trip(x)) == {"tag": "a", "_private": [1]}
    for name in ("shape", "_grad", "_a", "backward"):
        code = zipfile.ZipFile(saved(x)).read("archive/data.pkl")
        code = code.replace(b"X\3\0\0\0tag", b"X" + len(name).to_bytes(4, "little") + name.encode())
        bad = rewritten(saved(x), lambda n, data, c=code: c if n.endswith("pkl") else data)
        with pytest.raises(CheckpointError, match=f"a tensor cannot have an attribute '{name}'"):
            fb.load(bad)


def test_bools_are_normalised():
    x = fb.tensor([True, False, True])
    wrong = rewritten(saved(x), lambda n, data: b"\5\0\xff" if n.endswith("/0") else data)
    found = fb.load(wrong)
    assert found.numpy().view(np.uint8).tolist() == [1, 0, 1]
    f = saved(np.array([True, False, True]), pickle_protocol=4)
    wrong = rewritten(f, lambda n, data: data.replace(b"\1\0\1", b"\2\0\xff"))
    assert fb.load(wrong).view(np.uint8).tolist() == [1, 0, 1]


def test_unaligned_entries_of_a_mapped_file_are_copied(tmp_path):
    with zipfile.ZipFile(saved(fb.arange(5.0))) as z, zipfile.ZipFile(tmp_path / "x", "w") as new:
        for i in range(4):  # one of them puts the numbers at an odd place
            new.writestr(f"a{'b' * i}/z", b"")
        for n in z.namelist():
            new.writestr(n.replace("archive", "ab"), z.read(n))
    found = fb.load(tmp_path / "x", mmap=True)
    assert found.numpy().flags.aligned and found.tolist() == [0, 1, 2, 3, 4]


def test_whole_models_of_pytorch_need_unsafe():
    nn = pytest.importorskip("flambeau.nn")
    names = {b"flambeau.nn.modules._linear": b"torch.nn.modules.linear"}
    names[b"cflambeau.nn.modules._linear\nLinear"] = (
        b"ctorch.nn.modules.linear\nNonDynamicallyQuantizableLinear"
    )
    model = nn.Linear(2, 3)
    for ours, theirs in names.items():
        f = rewritten(saved(model), lambda n, data, o=ours, t=theirs: data.replace(o, t))
        with pytest.raises(UnsafeCheckpointError, match=r"needs torch\.nn\.modules\.linear\."):
            fb.load(f)
        f.seek(0)
        assert fb.equal(fb.load(f, unsafe=True).weight, model.weight)


# ---- what the caller declares
class Thing:
    def __init__(self, a):
        self.a = a

    def __eq__(self, other):
        return type(other) is Thing and self.a == other.a


class Slotted:
    __slots__ = ("a",)


class Chatty:
    def __getstate__(self):
        return {"a": 1}

    def __setstate__(self, state):
        raise KeyError("mine")


class Numbers(list):
    pass


class Colour(enum.Enum):
    RED = 1


Pair = namedtuple("Pair", "a b")


@pytest.fixture
def nothing_declared():
    clear_safe_globals()
    yield
    clear_safe_globals()


@pytest.mark.parametrize("protocol", [2, 4])
def test_declared_classes(protocol, nothing_declared):
    slotted = Slotted()
    slotted.a = 1
    values = [Thing([1, fb.ones(2).tolist()]), Numbers([1, 2]), Colour.RED, Pair(1, 2), Thing]
    f = saved([*values, slotted], pickle_protocol=protocol)
    needed = {Thing, Numbers, Colour, Pair, Slotted}
    names = {f"{c.__module__}.{c.__qualname__}" for c in needed}
    assert set(get_unsafe_globals_in_checkpoint(f)) == names
    f.seek(0)
    with pytest.raises(
        UnsafeCheckpointError,
        match=r"Thing, which .* Hint: .* serialization\.add_safe_globals\(\[Thing\]\); .*unsafe=True",
    ):
        fb.load(f)
    f.seek(0)
    with safe_globals(needed):
        assert set(get_safe_globals()) == needed
        *found, last = fb.load(f)
    assert found == values and last.a == 1 and type(found[1]) is Numbers
    assert get_safe_globals() == []


def test_declared_names(nothing_declared):
    f = rewritten(
        saved(Thing(1)),
        lambda n, data: data.replace(f"c{__name__}\nThing".encode(), b"celse.where\nOld"),
    )
    add_safe_globals([(Thing, "else.where.Old")])
    assert get_safe_globals() == [(Thing, "else.where.Old")] and fb.load(f) == Thing(1)
    clear_safe_globals()
    f.seek(0)
    with pytest.raises(UnsafeCheckpointError, match=r"needs else\.where\.Old"):
        fb.load(f)


def test_errors_of_declared_classes_are_theirs(nothing_declared):
    add_safe_globals([Chatty])
    with pytest.raises(KeyError, match="mine"):
        fb.load(saved(Chatty()))


def test_models_can_be_declared(nothing_declared):
    nn = pytest.importorskip("flambeau.nn")
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    add_safe_globals([nn.Sequential, nn.Linear, nn.ReLU])
    x = fb.ones(1, 2)
    assert fb.equal(round_trip(model)(x), model(x))


@pytest.mark.parametrize("wrong", ["text", 3, [3], [("a", "b", "c")], [(3, "name")]])
def test_wrong_declarations(wrong, nothing_declared):
    with pytest.raises(ArgumentError, match=r"add_safe_globals: needs .* Hint: add_safe_globals"):
        add_safe_globals(wrong)
    assert get_safe_globals() == []


def test_unsafe_globals_of_other_files():
    with pytest.raises(CheckpointError, match="needs a zip archive; a file of PyTorch before 1.6"):
        get_unsafe_globals_in_checkpoint(unpacked(LEGACY))
