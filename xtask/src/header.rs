//! `cargo xtask header`: makes the header of the C interface.

use anyhow::{Context, Result};

use crate::workspace::root;

const PACKAGE: &str = "crates/elbowroom-c";

/// The path of the header from the root.
pub(crate) const FILE: &str = "crates/elbowroom-c/include/elbowroom.h";

/// Returns the header that belongs to the sources.
pub(crate) fn text() -> Result<String> {
    let package = root().join(PACKAGE);
    let config = cbindgen::Config::from_root_or_default(&package);
    let builder = cbindgen::Builder::new().with_crate(&package);
    let bindings = builder.with_config(config).generate();
    let mut text = Vec::new();
    bindings.context("make the header")?.write(&mut text);
    Ok(String::from_utf8(text)?)
}

/// Writes the header.
pub(crate) fn make() -> Result<()> {
    Ok(std::fs::write(root().join(FILE), text()?)?)
}
