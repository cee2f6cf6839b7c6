//! Recorded faults as a trace for the viewers of Chrome and Perfetto.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use elbowroom::fault::Event;

/// Writes events as a JSON trace, which <https://ui.perfetto.dev> and `chrome://tracing` open.
///
/// Each region is a group with its name. The group has a track for each thread that touched the region, and a
/// counter of the committed bytes. The document "Trace Event Format" of the Chromium project describes the
/// format.
///
/// ```
/// use elbowroom::Region;
/// use elbowroom::fault::Recorder;
/// use elbowroom_telemetry::TraceWriter;
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
    // The number of each region, by its address and name: a region may be reserved where another one was.
    groups: BTreeMap<(usize, String), usize>,
    is_first: bool,
}

impl<W: Write> TraceWriter<W> {
    /// Starts a trace without events. Each event is a small write, so wrap a file in a
    /// [`BufWriter`](io::BufWriter).
    ///
    /// # Errors
    /// Returns the writer's errors, as all methods here do.
    pub fn new(mut writer: W) -> io::Result<TraceWriter<W>> {
        writer.write_all(b"{\"traceEvents\":[")?;
        Ok(TraceWriter {
            writer,
            epoch: None,
            groups: BTreeMap::new(),
            is_first: true,
        })
    }

    /// Adds an event. Times count from the first event that is added.
    ///
    /// # Errors
    /// Returns the writer's errors.
    pub fn add(&mut self, event: &Event) -> io::Result<()> {
        let epoch = *self.epoch.get_or_insert(event.at);
        let number = self.groups.len() + 1;
        let group = *self
            .groups
            .entry((event.region, event.region_name().to_owned()))
            .or_insert(number);
        if self.groups.len() == number {
            let name = match event.region_name() {
                "" => format!("region at {:#x}", event.region),
                name => name.to_owned(),
            };
            self.line(format_args!(
                "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{group},\"args\":{{\"name\":{}}}}}",
                serde_json::Value::from(name)
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

    /// Ends the trace, and returns the writer. A trace without this end is cut off; most viewers open it all the
    /// same.
    ///
    /// # Errors
    /// Returns the writer's errors.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer
            .write_all(b"\n],\"displayTimeUnit\":\"ns\"}\n")?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn line(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let before = if std::mem::take(&mut self.is_first) {
            "\n"
        } else {
            ",\n"
        };
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
