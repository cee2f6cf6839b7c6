//! The other platforms that a Debian x86-64 machine can test, or at least lint.
//!
//! rustup has compiled standard libraries for most of them, but none for Windows 7, the only Windows that Wine 8 runs.
//! So every platform's std is built from source by the same compiler: Debian's, whose source package always matches it.
//! All platforms share one build folder, so macros and build scripts are built once.

use std::path::PathBuf;

use anyhow::Result;
use xshell::{Cmd, Shell, cmd};

use crate::debian;
use crate::workspace::build_folder;

/// The page size of the host machine.
pub(crate) const HOST_PAGE_SIZE: u32 = 4096;

/// Debian packages, separated by spaces: its compiler, the lints of that, the source of its std, emulators and linkers.
pub(crate) const RUST: &str = "rustc-web rust-web-clippy rust-web-src";
pub(crate) const WINDOWS: &str = "rustc-web rust-web-src gcc-mingw-w64-x86-64-win32 wine wine64";
pub(crate) const ARM64: &str = "rustc-web rust-web-src gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
    qemu-user debian-archive-keyring";

/// The packages for other platforms and their features, as arguments of cargo. The pager's `remote` is left out: its
/// cryptography is in C, and no C compiler for most of these platforms is installed.
pub(crate) const ALL: &str = "--workspace --exclude=xtask \
    --features=elbowroom/allocator-api2,elbowroom/inject,elbowroom/rayon,elbowroom/serde,elbowroom/tracing \
    --features=elbowroom/zerocopy,elbowroom-c/capi,elbowroom-map/serde,elbowroom-pager/rayon \
    --features=elbowroom-telemetry/metrics";

const WINDOWS_TARGET: &str = "x86_64-win7-windows-gnu";

/// Another platform whose programs can run on this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Windows programs, run by Wine.
    Windows,
    /// 64-bit Arm Linux, run by QEMU, with this page size in bytes.
    Arm64(u32),
}

/// Returns `cargo SUBCOMMAND` for a platform; the caller adds the rest of the arguments.
pub(crate) fn cargo<'a>(sh: &'a Shell, platform: Platform, subcommand: &str) -> Result<Cmd<'a>> {
    const RUNNER: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER";
    // The kernel cannot start an Arm program by itself, so a test that starts a child puts the emulator before it.
    // Under Wine, programs start each other as they do on Windows.
    const CHILD_RUNNER: &str = "ELBOWROOM_TEST_RUNNER";
    let page_size = match platform {
        Platform::Windows => {
            start_wine(sh)?;
            return Ok(foreign_cargo(sh, subcommand, WINDOWS_TARGET));
        }
        Platform::Arm64(page_size) => page_size,
    };
    let cargo = foreign_cargo(sh, subcommand, "aarch64-unknown-linux-gnu");
    let libraries = "-L /usr/aarch64-linux-gnu";
    // Only an old QEMU can emulate pages larger than the host's; a new one is better for everything else.
    if page_size == HOST_PAGE_SIZE {
        let system = debian::unpack("qemu", &[], &["qemu-user"])?;
        let qemu = format!("{}/usr/bin/qemu-aarch64 {libraries}", system.display());
        return Ok(cargo.env(RUNNER, &qemu).env(CHILD_RUNNER, &qemu));
    }
    let qemu = format!("qemu-aarch64 {libraries} -p {page_size}");
    // The old QEMU keeps eight bytes for every 4 KiB of addresses that a program reserves, 8 GiB for 1 TiB: a large
    // reservation must fail rather than use up the machine's memory. Children inherit the limit.
    let limited = format!("prlimit --as={} {qemu}", 128_u64 << 30);
    // QEMU 7 crashes because of a wrong mapping while std walks the stack of a panic.
    let cargo = cargo.env("RUST_BACKTRACE", "0");
    Ok(cargo.env(RUNNER, limited).env(CHILD_RUNNER, qemu))
}

/// Runs the tests on another platform.
pub(crate) fn test(sh: &Shell, platform: Platform) -> Result<()> {
    let mut test = cargo(sh, platform, "test")?.args(ALL.split(' '));
    if matches!(platform, Platform::Arm64(page_size) if page_size != HOST_PAGE_SIZE) {
        // The documentation's tests make reservations that are too large for the emulator of these pages. The packages
        // are the same for all page sizes: other packages would have other features, and be built again.
        test = test.arg("--tests");
    }
    Ok(test.arg("--no-fail-fast").run()?)
}

/// Runs programs in C on Windows, with the static library and with the DLL.
pub(crate) fn test_c_on_windows(sh: &Shell) -> Result<()> {
    let build = cargo(sh, Platform::Windows, "build")?;
    build.args(["-p", "elbowroom-c"]).run()?;
    let folder = foreign_folder().join(WINDOWS_TARGET).join("debug");
    let _folder = sh.push_dir("crates/elbowroom-c");
    for source in ["examples/c/seed.c", "tests/c/interface.c"] {
        for library in ["libelbowroom.a", "libelbowroom.dll.a"] {
            let library = folder.join(library);
            // The program lies beside the DLL, where Windows looks for it.
            let program = folder.join("c.exe");
            let strict = "-std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude".split(' ');
            let system = ["-lntdll", "-luserenv", "-lws2_32"];
            let compile = cmd!(sh, "x86_64-w64-mingw32-gcc {strict...} {source}");
            let compile = compile.arg("-o").arg(&program).arg(library);
            compile.args(system).run()?;
            cmd!(sh, "wine-stable {program}").ignore_stdout().run()?;
        }
    }
    Ok(())
}

/// Lints packages for a target whose programs cannot run here.
pub(crate) fn lint(sh: &Shell, target: &str, packages: &str) -> Result<()> {
    // The variable that `cargo clippy` sets, for the Clippy of Debian's compiler.
    let lint = check(sh, target, packages)
        .env("RUSTC_WORKSPACE_WRAPPER", "/usr/bin/clippy-driver")
        .env("CARGO_BUILD_WARNINGS", "deny");
    Ok(lint.arg("-Zwarnings").run()?)
}

/// Returns the command that type-checks packages for a target whose programs cannot run here.
pub(crate) fn check<'a>(sh: &'a Shell, target: &str, packages: &str) -> Cmd<'a> {
    let check = foreign_cargo(sh, "check", target).args(packages.split(' '));
    // Cargo builds std even for a check. No code is generated, because none runs.
    check.arg("--all-targets").env("RUSTFLAGS", "-Zno-codegen")
}

fn foreign_cargo<'a>(sh: &'a Shell, subcommand: &str, target: &str) -> Cmd<'a> {
    let cargo = cmd!(sh, "cargo --config xtask/foreign.toml {subcommand}");
    // Lets a stable compiler build std.
    let cargo = cargo.env("RUSTC_BOOTSTRAP", "1").args(["--target", target]);
    cargo.env("CARGO_TARGET_DIR", foreign_folder())
}

fn foreign_folder() -> PathBuf {
    build_folder().join("foreign")
}

/// Ends everything that Wine still runs.
pub(crate) fn stop_wine(sh: &Shell) -> Result<()> {
    let stop = cmd!(sh, "wineserver --kill").env("WINEPREFIX", build_folder().join("wine"));
    // Fails if no server runs, which is fine.
    Ok(stop.ignore_status().run()?)
}

/// Sets up Wine's disk, and the variables of Wine for every program that the shell starts.
fn start_wine(sh: &Shell) -> Result<()> {
    let prefix = build_folder().join("wine");
    sh.set_var("WINEPREFIX", &prefix);
    sh.set_var("WINEDEBUG", "-all");
    // No debugger that waits at a crash, and no offer to download Mono and Gecko.
    sh.set_var("WINEDLLOVERRIDES", "winedbg.exe=;mscoree,mshtml=");
    // The last file that Wine writes when it sets up or updates a prefix.
    if !sh.path_exists(prefix.join(".update-timestamp")) {
        sh.create_dir(&prefix)?;
        let init = cmd!(sh, "wineboot --init").ignore_stdout();
        init.ignore_stderr().run()?;
    }
    // Otherwise the server ends soon after each program, and may reset the connection of the next.
    Ok(cmd!(sh, "wineserver --persistent").ignore_status().run()?)
}
