//! Recorded faults as a trace for Chrome's and Perfetto's viewers.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::Event;

/// Writes events as a JSON trace, which <https://ui.perfetto.dev> and `chrome://tracing` open: each region is a group
/// of its name, with a track for each thread that touched it, and a counter of what is committed.
///
/// The format is that of the "Trace Event Format" document of the Chromium project.
///
/// ```
/// use elbowroom::Region;
/// use elbowroom::fault::{Recorder, TraceWriter};
///
/// let recorder = Recorder::start(1000).expect("no other recorder lives");
/// let region = Region::builder(1 << 30).name("index").build()?;
/// region.try_fill(0..1 << 20, 1)?;
///
/// let mut trace = TraceWriter::new(Vec::new())?;
/// for event in recorder.events() {
///     trace.add(&event)?;
/// }
/// let json = trace.finish()?;
/// assert!(json.starts_with(b"{\"traceEvents\":["));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    writer: W,
    // When the trace begins: with the first event.
    epoch: Option<Instant>,
    // The number of each region, by its address and name: another may come to lie where one was.
    groups: BTreeMap<(usize, String), usize>,
    is_first: bool,
}

impl<W: Write> TraceWriter<W> {
    /// A trace without events. Each event is a small write, so a file wants a [`BufWriter`](io::BufWriter).
    ///
    /// # Errors
    /// The writer's, as for all methods here.
    pub fn new(mut writer: W) -> io::Result<TraceWriter<W>> {
        writer.write_all(b"{\"traceEvents\":[")?;
        Ok(TraceWriter { writer, epoch: None, groups: BTreeMap::new(), is_first: true })
    }

    /// Adds an event. Times are counted from the first one that is added.
    ///
    /// # Errors
    /// The writer's.
    pub fn add(&mut self, event: &Event) -> io::Result<()> {
        let epoch = *self.epoch.get_or_insert(event.at);
        let number = self.groups.len() + 1;
        let group = *self.groups.entry((event.region, event.region_name().to_owned())).or_insert(number);
        if self.groups.len() == number {
            let name = match event.region_name() {
                "" => format!("region at {:#x}", event.region),
                name => name.to_owned(),
            };
            self.line(format_args!(
                "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{group},\"args\":{{\"name\":{}}}}}",
                Quoted(&name)
            ))?;
        }
        let at = Microseconds(event.at.saturating_duration_since(epoch));
        self.line(format_args!(
            "{{\"ph\":\"X\",\"cat\":\"fault\",\"name\":\"{} {}\",\"pid\":{group},\"tid\":{},\"ts\":{at},\"dur\":{},\
             \"args\":{{\"offset\":{},\"committed_bytes\":{}}}}}",
            event.access,
            event.outcome.name(),
            // Viewers take 32 bits.
            event.thread as u32,
            Microseconds(event.duration),
            event.offset,
            event.committed_bytes,
        ))?;
        self.line(format_args!(
            "{{\"ph\":\"C\",\"name\":\"committed\",\"pid\":{group},\"ts\":{},\"args\":{{\"bytes\":{}}}}}",
            Microseconds(event.at.saturating_duration_since(epoch) + event.duration),
            event.region_committed_bytes,
        ))
    }

    /// Ends the trace. Without this, viewers take it as one that was cut off, and most open it all the same.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(b"\n],\"displayTimeUnit\":\"ns\"}\n")?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn line(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let before = if std::mem::take(&mut self.is_first) { "\n" } else { ",\n" };
        self.writer.write_all(before.as_bytes())?;
        self.writer.write_fmt(text)
    }
}

/// The unit of the format, to the nanosecond.
struct Microseconds(Duration);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        write!(f, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
    }
}

/// A JSON string.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => write!(f, "{character}")?,
            }
        }
        f.write_str("\"")
    }
}
