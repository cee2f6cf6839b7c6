//! `cargo xtask pictures`: makes the pictures that the documents show, by the command that is in them.

use anyhow::{Context, Result};

use crate::workspace::{cargo, output, root};

/// Each picture in `docs/images`, and the arguments that make the command draw it, but for the file.
const PICTURES: [(&str, &[&str]); 3] = [
    ("demo.svg", &["demo", "--svg"]),
    ("map.svg", &["map", "--self", "--region", "sample", "--svg"]),
    ("watch.svg", &["watch", "--workload", "budget", "--svg"]),
];

pub(crate) fn make() -> Result<()> {
    let folder = root().join("docs/images");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for (file, arguments) in PICTURES {
        let path = folder.join(file);
        // Its text goes nowhere.
        output(cargo().args(["run", "--release", "-p", "elbowroom-cli", "--"]).args(arguments).arg(&path))?;
        println!("{}", path.display());
    }
    Ok(())
}
