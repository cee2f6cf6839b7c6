//! `cargo xtask pictures`: makes the pictures of the documents, with the commands that the documents name.

use anyhow::Result;
use xshell::cmd;

use crate::workspace::shell;

/// Each picture in `docs/images`, and the command's arguments to draw it, without the file.
const PICTURES: [(&str, &str); 3] = [
    ("demo.svg", "demo --svg"),
    ("map.svg", "map --self --region sample --svg"),
    ("watch.svg", "watch --workload budget --svg"),
];

pub(crate) fn make() -> Result<()> {
    let sh = shell()?;
    let folder = sh.create_dir("docs/images")?;
    for (file, arguments) in PICTURES {
        let arguments = arguments.split(' ');
        let run = cmd!(sh, "cargo run --release -p elbowroom-cli --");
        run.args(arguments)
            .arg(folder.join(file))
            .ignore_stdout()
            .run()?;
    }
    Ok(())
}
