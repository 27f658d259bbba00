"""Values that somebody could type for a key, or that stand in for one in a file."""

CANARY = "canary"
"""Of the file that a payload writes, and in the name of whatever it puts into a page."""

MARKUP = '"\'><x-canary onclick=canary()></style></script><script>canary()</script>&lt;'
"""Shows up as an element or attribute of a page that does not escape it."""

_NUMBERS = (
    "0 -1 1 2 3.5 -0.0 1e5 1e308 1e400 -1e400 nan -nan .inf -inf 0x10 0b1 0o7 007 1_000 2024_06_01 3.10 1. .5 1e-320 +1 "
    "4294967296 9223372036854775808 18446744073709551616"
).split()

TYPED = (
    *("", " ", "null", "None", "~", "true", "False", "yes", "???", *_NUMBERS, "9" * 30, "9" * 5000),
    *("a", "word", "a b", " a", "a=b", "=", "a=b=c", "a,b", ",", "a:b", "a: b", "x;y", "`id`", "$(id)", "@", "#", "a#b"),
    *("[", "]", "{", "}", "(", ")", "[a", "{a", "[]", "{}", "[[]]", "[[[]]]", "[null]", "['']", "[a,a]", "[1,a,null,[],{}]"),
    *("{a: 1}", "{a: {b: [1]}}", "{a: 1, a: 2}", "{name: null}", "{name: [x]}", "{1: 2}", "[{}]", "[[1,2],[3]]"),
    *("'", '"', "''", '""', "'a", 'a"b', "it's", "\\", "\\\\", "a\\", "\\=", "a\\,b", "'[a]'"),
    *("$", "${", "${}", "${x}", "${.}", "${seed}", "${oc.env:HOME}", "${oc.env:NOPE}", "${oc.env:}", "${oc.create:[1]}"),
    *("choice(1,2)", "range(1,3)", "interval(0,1)", "glob(*)", "sort(2,1)", "extend_list(1)", "int(a)", "str(1)", "f(x)"),
    *("[bold]x[/]", "[/v1]", "[/]", "[red]", "[link=x]y", ":smile:", "%s", "{0}", "\\n"),
    *("é", "e\u0301", "日本語", "🙂", "\u202egnp", "\u200b", "\ufeff", "\u2028", "\udcff", "İ", "１２"),
    *("a\nb", "\t", "\r", "\x1b[31mred", "\x7f", "\x01"),
    *("x" * 300, "x" * 5000, "a/" * 3000, "[" * 500, "[" * 60 + "]" * 60, "{a: " * 60 + "1" + "}" * 60),
    *(".", "..", "../..", "./", "-", "--", "-x", "missing", "missing/deep/x", "a/../photos", "photos", "photos/", "table.csv"),
    *("/dev/null", "/proc/self/mem", "~", "~nobody/x", "~/x", "file:///etc", "http://localhost:9/x", "s3://b/x", "C:\\x"),
    *("timm:", "timm:nope", "torchvision:", "torchvision:nope", "random:", "random:nope", "random:resnet10", "timm:a:b"),
    *(MARKUP, "{{7*7}}", f"!!python/object/apply:os.system [touch {CANARY}]"),
    *(f"{{_target_: os.system, command: 'touch {CANARY}'}}", f"{{_target_: builtins.eval, _args_: [open('{CANARY}','w')]}}"),
)
"""As the shell hands them over, without the key."""

FOUND = (
    *(None, True, False, 0, -1, 1, 2, 0.5, 1e308, -1e308, 10**30, 10**400, 2**63, float("nan"), float("inf"), -float("inf")),
    *("", " ", "x", "1", "nan", "/", "..", "[bold]x[/]", "[/v1]", MARKUP, "\ud800", "\x00", "é", "🙂", "\u202e", "a\nb"),
    *("x" * 5000, "${oc.env:HOME}", "${x}", "{{7*7}}"),
    *([], [None], [[]], [1, "a", None], {}, {"a": 1}, {"": ""}, {"name": MARKUP}, [[1, 2], [3]], [1e308, 1e308]),
)
"""As a file may hold them in place of what belongs there."""

NAMES = (
    *("My Drive", "a b c", " lead", "trail ", "a=b", "ep=1,x", "a,b", "(1)", "[1]", "{1}", "[bold]x[/]", "[/v1]", "it's"),
    *('say "x"', "a'b\"c", "$x", "${x}", "a#b", "a;b", "a&b", "a|b", "a*b", "a?b", "a:b", "a\\b", "~", "-x", "--help"),
    *("é", "e\u0301", "日本語", "🙂", "\u202egnp", "\udcff\udcfe", "a\nb", "\t", "\x1b[31m", "%s", "%20", "{0}", "null"),
    *("1e5", "007", "3.10", "2024_06_01", "true", ".hidden", "..x", "a.b.c", "con", "x" * 200, "é" * 100, "<x-canary>"),
    *("<script>canary()<", '"><img src=x onerror=canary()>', "a+b", "+", "=", "@", "!", "`id`", "`touch canary`"),
)
"""Of files, folders and labels."""
