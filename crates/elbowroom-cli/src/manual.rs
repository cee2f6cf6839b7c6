//! Output made from the definition of the command line: completions for shells, and manual pages.

use std::io::{self, Write};

use clap_complete::Shell;
use clap_mangen::Man;

use crate::args;
use crate::output;

/// Runs `elbowroom completions`.
pub(crate) fn completions(shell: Shell) -> Result<i32, String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "elbowroom", &mut script);
    print(&script)
}

/// Runs `elbowroom man`, for one command or for all.
pub(crate) fn page(names: &[String]) -> Result<i32, String> {
    let all = args::command();
    // The parser has refused unknown names already.
    let command = args::find(&all, names).unwrap_or(&all).clone();
    print(&render(command).map_err(|error| format!("cannot make the page: {error}"))?)
}

fn render(command: clap::Command) -> io::Result<Vec<u8>> {
    let examples = command.get_after_help().map(ToString::to_string);
    let has_commands = command.has_subcommands();
    let name = command.get_display_name().unwrap_or(command.get_name());
    let name = name.to_owned();
    let man = Man::new(command);
    let mut page = Vec::new();
    // `Man` does not write this line, because without a date it takes the next word for one.
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        page,
        ".TH {name} 1 \"\" \"elbowroom {version}\" \"User Commands\""
    )?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    page.write_all(closing(&examples.unwrap_or_default()).as_bytes())?;
    Ok(page)
}

/// Returns the sections that follow the options: notes, and examples with their lines and spaces unchanged.
fn closing(text: &str) -> String {
    let (notes, examples) = text.split_once("Examples:\n").unwrap_or((text, ""));
    let mut page = String::new();
    for (title, text, fill) in [("NOTES", notes, ".fi"), ("EXAMPLES", examples, ".nf")] {
        if !text.trim().is_empty() {
            page += &format!(".SH {title}\n{fill}\n");
            for line in text.trim_matches('\n').lines() {
                // A line that starts with a dot would be a request, and a plain hyphen is a dash.
                let line = line.replace('\\', "\\e").replace('-', "\\-");
                page += &format!("\\&{}\n", line.replace('\'', "\\(aq"));
            }
            page += ".fi\n";
        }
    }
    page
}

fn print(text: &[u8]) -> Result<i32, String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map(|()| 0).map_err(output::cannot_print)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_filled_and_examples_stay_as_they_are() {
        let expected =
            ".SH NOTES\n.fi\n\\&a 'b'\n.fi\n.SH EXAMPLES\n.nf\n\\&  x \\-\\-y\n\\&.z \\e\n.fi\n";
        assert_eq!(
            closing("a 'b'\n\nExamples:\n  x --y\n.z \\"),
            expected.replace("'b'", "\\(aqb\\(aq")
        );
        assert_eq!(closing(""), "");
    }

    #[test]
    fn every_page_has_all_options() {
        let all = args::command();
        let commands = || all.get_subcommands();
        let nested = commands().flat_map(clap::Command::get_subcommands);
        for command in commands().chain(nested).chain([&all]) {
            let page = String::from_utf8(render(command.clone()).unwrap()).unwrap();
            assert!(page.starts_with(".TH elbowroom"), "{page}");
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                let option = format!("\\-\\-{}", option.replace('-', "\\-"));
                assert!(page.contains(&option), "{option}: {page}");
            }
        }
    }
}
