//! Builds the C baseline if a C compiler is available, and records the version of rustc.

use std::process::Command;

const BARE_HANDLER: &str = "src/os/bare_handler.c";

fn main() {
    println!("cargo::rerun-if-changed={BARE_HANDLER}");
    println!("cargo::rustc-check-cfg=cfg(has_bare_handler)");
    // Signals and mprotect.
    if std::env::var_os("CARGO_CFG_UNIX").is_some() {
        match cc::Build::new()
            .file(BARE_HANDLER)
            .opt_level(2)
            .cargo_warnings(false)
            .try_compile("bare_handler")
        {
            Ok(()) => println!("cargo::rustc-cfg=has_bare_handler"),
            Err(error) => println!(
                "cargo::warning=no bare handler to compare with: {}",
                one_line(&error.to_string())
            ),
        }
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    println!("cargo::rustc-env=BUILT_WITH={}", one_line(&version));
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
