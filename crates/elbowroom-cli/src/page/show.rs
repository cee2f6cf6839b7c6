//! The contents of a file: its description, its elements in order, and elements at indices.

use std::io::{self, BufRead, BufWriter, Write};

use serde::Serialize;

use super::number::Number;
use super::open::{Opened, dtype_of, told};
use crate::args::{Dtype, PageCat, PageGather, Source};
use crate::output::{cannot_print, json, print};
use crate::size::Size;

/// The indices that are looked up at once.
const BATCH: usize = 1 << 16;

#[derive(Serialize)]
struct Info<'a> {
    location: &'a str,
    /// Null if it is not known.
    dtype: Option<String>,
    /// Null without a type.
    elements: Option<usize>,
    bytes: usize,
    offset: u64,
    version: Option<String>,
    /// Null for a raw file.
    npy: Option<Npy<'a>>,
}

#[derive(Serialize)]
struct Npy<'a> {
    descr: &'a str,
    shape: &'a [usize],
    fortran_order: bool,
}

/// `elbowroom page info`.
pub(super) fn info(source: &Source) -> Result<i32, String> {
    let opened = Opened::new(source)?;
    let header = opened.header();
    match source.dtype.or_else(|| header.and_then(dtype_of)) {
        Some(dtype) => with_type!(dtype, T => describe::<T>(opened, Some(dtype))),
        // The type of a .npy file is missing here: says so.
        None if header.is_some() => opened.dtype().map(|_| 0),
        None => describe::<u8>(opened, None),
    }
}

fn describe<T: Number>(opened: Opened<'_>, dtype: Option<Dtype>) -> Result<i32, String> {
    let (source, offset) = (opened.source, opened.offset());
    let header = opened.header().cloned();
    let array = opened.array::<T>()?;
    let bytes = array.len() * size_of::<T>();
    let info = Info {
        location: array.location(),
        dtype: dtype.map(Dtype::name),
        elements: dtype.map(|_| array.len()),
        bytes,
        offset,
        version: array.version(),
        npy: header.as_ref().map(|header| Npy {
            descr: header.descr(),
            shape: header.shape(),
            fortran_order: header.is_fortran_order(),
        }),
    };
    if source.limits.json {
        return print(json(&info));
    }
    let mut text = format!("location  {}", info.location);
    let mut row = |name: &str, value: String| text += &format!("\n{name:<8}  {value}");
    let elements = info.elements.map(|count| count.to_string());
    let unknown = || "not known without --dtype".to_owned();
    row("elements", elements.unwrap_or_else(unknown));
    if let Some(dtype) = info.dtype {
        row("type", dtype);
    }
    row("bytes", format!("{bytes} ({})", Size(bytes as u64)));
    row("offset", info.offset.to_string());
    if let Some(npy) = &info.npy {
        let axis = if npy.fortran_order { "first" } else { "last" };
        row(
            "shape",
            format!("{:?}, the {axis} axis varies fastest", npy.shape),
        );
    }
    if let Some(version) = info.version {
        row("version", version);
    }
    print(text)
}

/// Elements on standard output: one a line, or as the values of one JSON object.
struct Elements<'a> {
    out: BufWriter<io::StdoutLock<'a>>,
    is_json: bool,
    is_first: bool,
}

impl Elements<'_> {
    fn start(location: &str, is_json: bool) -> Result<Self, String> {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        if is_json {
            let location = json(&location);
            write!(out, "{{\"location\":{location},\"values\":[").map_err(cannot_print)?;
        }
        let is_first = true;
        Ok(Elements {
            out,
            is_json,
            is_first,
        })
    }

    fn write<T: Number>(&mut self, element: T) -> Result<(), String> {
        let comma = if self.is_first { "" } else { "," };
        self.is_first = false;
        let written = match self.is_json {
            true => write!(self.out, "{comma}{}", element.json()),
            false => writeln!(self.out, "{element:?}"),
        };
        written.map_err(cannot_print)
    }

    /// Ends the output, and returns the exit status.
    fn end(mut self) -> Result<i32, String> {
        let end = if self.is_json { "]}\n" } else { "" };
        let ended = self.out.write_all(end.as_bytes());
        ended
            .and_then(|()| self.out.flush())
            .map_err(cannot_print)?;
        Ok(0)
    }
}

/// `elbowroom page cat`.
pub(super) fn cat<T: Number>(settings: &PageCat, opened: Opened<'_>) -> Result<i32, String> {
    let array = opened.array::<T>()?;
    let range = settings.range.as_ref();
    let range = range.map_or(0..array.len(), |range| range.of(array.len()));
    let scan = array.scan(range).map_err(told)?;
    let mut elements = Elements::start(array.location(), settings.source.limits.json)?;
    for chunk in scan {
        for &element in &*chunk.map_err(told)? {
            elements.write(element)?;
        }
    }
    elements.end()
}

/// `elbowroom page gather`.
pub(super) fn gather<T: Number>(settings: &PageGather, opened: Opened<'_>) -> Result<i32, String> {
    let array = opened.array::<T>()?;
    let mut elements = Elements::start(array.location(), settings.source.limits.json)?;
    let mut look_up = |indices: &[usize]| {
        let mut found = array.gather(indices).map_err(told)?.into_iter();
        found.try_for_each(|element| elements.write(element))
    };
    for batch in settings.indices.chunks(BATCH) {
        look_up(batch)?;
    }
    if settings.indices.is_empty() {
        let mut batch = Vec::with_capacity(BATCH);
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| format!("cannot read standard input: {error}"))?;
            for word in line.split_whitespace() {
                let index = word.parse::<usize>();
                batch.push(index.map_err(|_| format!("standard input: {word:?} is not an index"))?);
                if batch.len() == BATCH {
                    look_up(&batch)?;
                    batch.clear();
                }
            }
        }
        look_up(&batch)?;
    }
    elements.end()
}
