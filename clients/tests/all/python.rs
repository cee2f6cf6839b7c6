//! Python with numpy over a region, and with faulthandler enabled before and after the library is loaded.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use super::{shared_object, skip};

const HEAD: &str = r#"
import ctypes, sys
def load():
    lib = ctypes.CDLL(sys.argv[1])
    for name in ("clients_region", "clients_base"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.clients_region.argtypes = [ctypes.c_size_t]
    lib.clients_committed.restype = ctypes.c_size_t
    for name in ("clients_base", "clients_committed", "clients_release"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
    return lib
def bytes_of(lib, region, length):
    return (ctypes.c_uint8 * length).from_address(lib.clients_base(region))
"#;

fn python(script: &str) -> Option<Output> {
    let mut command = Command::new("/usr/bin/python3");
    let output = command
        .arg("-c")
        .arg(format!("{HEAD}{script}"))
        .arg(shared_object())
        .output();
    output.ok()
}

#[test]
fn numpy_over_64_gib() {
    let script = r#"
import importlib.util
if importlib.util.find_spec("numpy") is None:
    print("no numpy"); sys.exit(0)
import numpy
lib = load()
length = 64 << 30
region = lib.clients_region(length)
array = numpy.ctypeslib.as_array(bytes_of(lib, region, length)).view(numpy.float64)
assert array.nbytes == length
array[:: (1 << 30) // 8] = 1.5
assert array[:: (1 << 30) // 8].sum() == 96.0
array[1000:2000] = numpy.arange(1000)
assert array[1000:2000].sum() == 499500.0 and (array[1000:2000] * 2).max() == 1998.0
assert numpy.sort(array[1000:2000][::-1])[0] == 0.0
committed = lib.clients_committed(region)
assert 64 * 4096 <= committed <= 64 << 21, committed
del array
lib.clients_release(region)
print("done")
"#;
    let Some(output) = python(script) else {
        return skip("/usr/bin/python3");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("no numpy") {
        return skip("numpy");
    }
    assert!(
        output.status.success() && text.contains("done"),
        "{output:?}"
    );
}

#[test]
fn faulthandler_tells_of_crashes_and_of_nothing_else() {
    let orders = [
        // Before the library.
        "import faulthandler; faulthandler.enable(); lib = load(); region = lib.clients_region(1 << 30)",
        // After it. It takes every fault for a crash, so the library's handler goes in front again.
        "import faulthandler; lib = load(); region = lib.clients_region(1 << 30)\n\
         faulthandler.enable(); assert lib.clients_reinstall()",
    ];
    for order in orders {
        let script = format!(
            r#"
{order}
data = bytes_of(lib, region, 1 << 30)
for page in range(1000):
    data[page * 4096] = 7
assert sum(data[page * 4096] for page in range(1000)) == 7000
print("touched", flush=True)
ctypes.string_at(8)
"#
        );
        let Some(output) = python(&script) else {
            return skip("/usr/bin/python3");
        };
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGSEGV),
            "{order}: {output:?}"
        );
        assert!(out.contains("touched"), "{order}: {output:?}");
        assert_eq!(
            err.matches("Fatal Python error: Segmentation fault")
                .count(),
            1,
            "{order}: {err}"
        );
    }
}
