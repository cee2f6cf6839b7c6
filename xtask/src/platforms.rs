//! The platforms besides its own that a Debian x86-64 machine can test, or at least type-check.
//!
//! rustup carries ready-made standard libraries for most of them, but none for Windows 7, the one Windows that Wine 8
//! runs, so every platform gets its std built from source by the same compiler: Debian's, whose source package always
//! matches it. Each platform has a build folder of its own, because a shared one would be rebuilt at every change of
//! compiler.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{trixie, workspace};

/// Debian's compiler and the source of its std.
const RUST: [&str; 2] = ["rustc-web", "rust-web-src"];
const ARM_GCC: &str = "gcc-aarch64-linux-gnu";
const ARM_LIBC: &str = "libc6-dev-arm64-cross";
/// The page size of the machine that all this runs on.
pub(crate) const HOST_PAGE_SIZE: u32 = 4096;
/// Wine's disk, as a folder in the build folder of Windows.
const WINE_PREFIX: &str = "wine";

/// Another platform, and how far it can be tried on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Windows programs, run by Wine.
    Windows,
    /// 64-bit Arm Linux, run by QEMU with pages of so many bytes.
    Arm64 { page_size: u32 },
    /// Compiles, and cannot run: the name of the target.
    CheckOnly(&'static str),
}

impl Platform {
    /// The target as rustc calls it.
    pub(crate) fn target(self) -> &'static str {
        match self {
            // Plain `x86_64-pc-windows-gnu` links to bcryptprimitives.dll, which Wine 8 does not have.
            Self::Windows => "x86_64-win7-windows-gnu",
            Self::Arm64 { .. } => "aarch64-unknown-linux-gnu",
            Self::CheckOnly(target) => target,
        }
    }

    /// The Debian packages that it takes.
    pub(crate) fn packages(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::Windows => &["gcc-mingw-w64-x86-64-win32", "wine", "wine64"],
            Self::Arm64 { page_size: HOST_PAGE_SIZE } => &[ARM_GCC, ARM_LIBC, trixie::KEYRING_PACKAGE],
            Self::Arm64 { .. } => &[ARM_GCC, ARM_LIBC, "qemu-user"],
            Self::CheckOnly(_) => &[],
        };
        [&RUST, own].concat()
    }

    /// `cargo SUBCOMMAND` for this platform; the caller adds the rest of the arguments.
    pub(crate) fn cargo(self, subcommand: &str) -> Result<Command> {
        if self == Self::Windows {
            create_wine_prefix()?;
        }
        let mut cargo = workspace::cargo();
        cargo
            .args([subcommand, "-Zbuild-std=std,panic_unwind,test", "--target", self.target()])
            .env("CARGO_TARGET_DIR", self.build_folder())
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTDOC", "/usr/bin/rustdoc")
            // Lets a stable compiler accept -Zbuild-std.
            .env("RUSTC_BOOTSTRAP", "1");
        match self {
            Self::Windows => {
                cargo.env(self.cargo_variable("LINKER"), "x86_64-w64-mingw32-gcc");
                cargo.env(self.cargo_variable("RUNNER"), "wine-stable");
                wine_environment(&mut cargo);
            }
            Self::Arm64 { page_size } => {
                let qemu = qemu(page_size)?;
                cargo.env(self.cargo_variable("LINKER"), "aarch64-linux-gnu-gcc");
                cargo.env(self.cargo_variable("RUNNER"), limited(&qemu, page_size));
                // The kernel cannot start an Arm program by itself, so a test that starts a child puts this before it;
                // the child inherits any limit. Windows needs none: under Wine, programs start each other as they do
                // on Windows.
                cargo.env("ELBOWROOM_TEST_RUNNER", qemu);
                if page_size != HOST_PAGE_SIZE {
                    // QEMU 7 dies of a wrong mapping while std walks the stack of a panic.
                    cargo.env("RUST_BACKTRACE", "0");
                }
            }
            Self::CheckOnly(_) => {}
        }
        Ok(cargo)
    }

    fn build_folder(self) -> PathBuf {
        workspace::build_folder().join(self.target())
    }

    /// Cargo's variable for one setting of this target.
    fn cargo_variable(self, setting: &str) -> String {
        format!("CARGO_TARGET_{}_{setting}", self.target().to_uppercase().replace('-', "_"))
    }
}

/// The command that runs an Arm program, words separated by spaces. Only an old QEMU can pretend that pages are larger
/// than the host's; a new one runs everything else better.
fn qemu(page_size: u32) -> Result<String> {
    const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
    if page_size != HOST_PAGE_SIZE {
        return Ok(format!("qemu-aarch64 -L {LIBRARIES} -p {page_size}"));
    }
    let qemu = trixie::unpacked("qemu", &[], &["qemu-user"])?.join("usr/bin/qemu-aarch64");
    Ok(format!("{} -L {LIBRARIES}", qemu.display()))
}

/// The command for the old QEMU with a limit on its addresses. It keeps eight bytes for every 4 KiB of addresses that a
/// program reserves, 8 GiB for 1 TiB: let a large reservation fail rather than use up the machine's memory.
fn limited(qemu: &str, page_size: u32) -> String {
    const MOST: u64 = 128 << 30;
    if page_size == HOST_PAGE_SIZE { qemu.to_owned() } else { format!("prlimit --as={MOST} {qemu}") }
}

/// Ends everything that Wine still runs; without a Wine, there is nothing to end.
pub(crate) fn stop_wine() {
    let mut wineserver = Command::new("wineserver");
    wineserver.arg("--kill").stderr(Stdio::null());
    wine_environment(&mut wineserver);
    // It fails when no server runs, which is what is wanted.
    let _ = wineserver.status();
}

fn create_wine_prefix() -> Result<()> {
    let prefix = wine_prefix();
    // The last file that Wine writes when it sets up or updates a prefix.
    if prefix.join(".update-timestamp").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&prefix).with_context(|| format!("create {}", prefix.display()))?;
    let mut wineboot = Command::new("wineboot");
    wineboot.arg("--init").stdout(Stdio::null()).stderr(Stdio::null());
    wine_environment(&mut wineboot);
    workspace::run(&mut wineboot)
}

fn wine_prefix() -> PathBuf {
    workspace::build_folder().join(WINE_PREFIX)
}

fn wine_environment(command: &mut Command) {
    command
        .env("WINEPREFIX", wine_prefix())
        .env("WINEDEBUG", "-all")
        // No debugger that waits at a crash, and no offer to download Mono and Gecko.
        .env("WINEDLLOVERRIDES", OsString::from("winedbg.exe=;mscoree,mshtml="));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_reads_the_variables_of_its_target() {
        assert_eq!(Platform::Windows.cargo_variable("LINKER"), "CARGO_TARGET_X86_64_WIN7_WINDOWS_GNU_LINKER");
    }

    #[test]
    fn every_page_size_has_its_qemu() {
        let old = Platform::Arm64 { page_size: 16384 };
        let new = Platform::Arm64 { page_size: HOST_PAGE_SIZE };
        assert!(old.packages().contains(&"qemu-user") && !new.packages().contains(&"qemu-user"));
        assert!(limited("qemu", 16384).starts_with("prlimit --as="));
        assert_eq!(limited("qemu", HOST_PAGE_SIZE), "qemu");
    }
}
