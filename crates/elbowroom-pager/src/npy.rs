//! Headers of `.npy` files, versions 1 to 3 of NumPy's format (`numpy.lib.format`).

use bytemuck::{AnyBitPattern, NoUninit};

use crate::store::{Store, StoreError};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The largest accepted header in bytes. A header is a line of text, and NumPy itself refuses more than 10,000 bytes.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// The header of a `.npy` file: the type, the shape and the order of its elements. Returned by
/// [`PagedOptions::open_npy`](crate::PagedOptions::open_npy) and [`Npy::header`](crate::Npy::header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyHeader {
    descr: String,
    is_fortran_order: bool,
    shape: Vec<usize>,
    data_offset: u64,
}

/// A number type with a name in NumPy: `u8` to `u64`, `i8` to `i64`, `f32` and `f64`.
pub trait NpyType: AnyBitPattern + NoUninit + sealed::Sealed {
    #[doc(hidden)]
    const KIND: char;
}

mod sealed {
    /// Restricts [`NpyType`](super::NpyType) to the types of this crate, whose bytes have NumPy's layout.
    pub trait Sealed {}
}

macro_rules! npy_types {
    ($kind:literal: $($type:ty)*) => {$(
        impl sealed::Sealed for $type {}
        impl NpyType for $type {
            const KIND: char = $kind;
        }
    )*};
}

npy_types!('u': u8 u16 u32 u64);
npy_types!('i': i8 i16 i32 i64);
npy_types!('f': f32 f64);

/// The reason why a file cannot be read as `.npy`.
#[derive(Debug)]
pub(crate) enum Refusal {
    Store(StoreError),
    Invalid(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

fn invalid(reason: &str) -> Refusal {
    Refusal::Invalid(format!("it is no .npy file: {reason}"))
}

impl NpyHeader {
    /// Returns NumPy's name of the elements' type, such as `<f8`.
    pub fn descr(&self) -> &str {
        &self.descr
    }

    /// Returns the number of elements along each axis. It is empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns whether the first axis varies fastest. The array has the elements in the order of the file.
    pub fn is_fortran_order(&self) -> bool {
        self.is_fortran_order
    }

    /// Returns the offset of the first element in the file, in bytes.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Returns the number of elements, or `None` if it overflows.
    pub(crate) fn elements(&self) -> Option<usize> {
        let mut axes = self.shape.iter();
        axes.try_fold(1, |product: usize, &axis| product.checked_mul(axis))
    }

    /// Reads the header at the start of a store.
    pub(crate) fn read(store: &dyn Store) -> Result<NpyHeader, Refusal> {
        let len = store.len()?;
        let mut start = [0; 12];
        if len < start.len() as u64 {
            return Err(invalid("it is too short"));
        }
        store.read_at(0, &mut start)?;
        let (magic, rest) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(invalid("it does not begin as one"));
        }
        let &[major, _, a, b, c, d] = rest else {
            return Err(invalid("it is too short"));
        };
        let (text_offset, text_len) = match major {
            1 => (10, u32::from(u16::from_le_bytes([a, b]))),
            2 | 3 => (12, u32::from_le_bytes([a, b, c, d])),
            _ => {
                return Err(invalid(&format!(
                    "its version is {major}, and 1 to 3 are known"
                )));
            }
        };
        let text_len = text_len as usize;
        let data_offset = text_offset + text_len as u64;
        if text_len > HEADER_BYTES_MAX || data_offset > len {
            return Err(invalid("its header is longer than can be"));
        }
        let mut text = vec![0; text_len];
        store.read_at(text_offset, &mut text)?;
        let text = std::str::from_utf8(&text).map_err(|_| invalid("its header is not text"))?;
        let mut header = parse(text).map_err(invalid)?;
        header.data_offset = data_offset;
        Ok(header)
    }

    /// Refuses elements that are not of type `T` on this machine.
    pub(crate) fn check<T: NpyType>(&self) -> Result<(), String> {
        let (descr, size) = (&self.descr, size_of::<T>());
        let mut chars = descr.chars();
        let order = chars.next();
        if chars.as_str() != format!("{}{size}", T::KIND) {
            return Err(format!(
                "its elements are `{descr}` (NumPy's name), and the array was opened for `{}{size}`",
                T::KIND
            ));
        }
        let native = if cfg!(target_endian = "little") {
            '<'
        } else {
            '>'
        };
        if order.is_some_and(|order| order == native || "=|".contains(order)) || size == 1 {
            return Ok(());
        }
        Err(format!(
            "its elements are `{descr}`, in the byte order of other machines"
        ))
    }
}

/// Parses the text of a header: a Python dictionary with three keys.
fn parse(text: &str) -> Result<NpyHeader, &'static str> {
    let mut parser = Parser { rest: text };
    let (mut descr, mut order, mut shape) = (None, None, None);
    parser.expect('{')?;
    while !parser.take('}') {
        let key = parser.string()?;
        parser.expect(':')?;
        let is_known_twice = match key {
            "descr" => descr.replace(parser.descr()?).is_some(),
            "fortran_order" => order.replace(parser.bool()?).is_some(),
            "shape" => shape.replace(parser.tuple()?).is_some(),
            _ => return Err("its header has an unknown key"),
        };
        if is_known_twice {
            return Err("its header has a key twice");
        }
        if !parser.take(',') {
            parser.expect('}')?;
            break;
        }
    }
    if !parser.rest.trim().is_empty() {
        return Err("something follows its header");
    }
    match (descr, order, shape) {
        (Some(descr), Some(is_fortran_order), Some(shape)) => Ok(NpyHeader {
            descr: descr.to_owned(),
            is_fortran_order,
            shape,
            data_offset: 0,
        }),
        _ => Err("a key is missing in its header"),
    }
}

/// A cursor in the header. Every step first skips blanks.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, char: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(char) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, char: char) -> Result<(), &'static str> {
        let taken = self.take(char);
        taken.then_some(()).ok_or("its header is not a dictionary")
    }

    fn string(&mut self) -> Result<&'a str, &'static str> {
        let quote = ['\'', '"'].into_iter().find(|&quote| self.take(quote));
        let quote = quote.ok_or("its header has no string where one belongs")?;
        let end = self.rest.split_once(quote);
        let (string, rest) = end.ok_or("a string in its header does not end")?;
        self.rest = rest;
        Ok(string)
    }

    fn descr(&mut self) -> Result<&'a str, &'static str> {
        if self.rest.trim_start().starts_with('[') {
            return Err("its elements are records of several fields, which are not supported");
        }
        self.string()
    }

    fn bool(&mut self) -> Result<bool, &'static str> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err("its order is neither True nor False")
    }

    fn tuple(&mut self) -> Result<Vec<usize>, &'static str> {
        let mut axes = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|char: char| !char.is_ascii_digit());
            let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            let axis = digits
                .parse()
                .map_err(|_| "its shape has something that is no length")?;
            axes.push(axis);
            // Python 2 wrote long numbers with this suffix.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::MemoryStore;

    fn file(major: u8, text: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([major, 0]);
        match major {
            1 => bytes.extend((text.len() as u16).to_le_bytes()),
            _ => bytes.extend((text.len() as u32).to_le_bytes()),
        }
        bytes.extend(text.as_bytes());
        bytes
    }

    fn read(bytes: Vec<u8>) -> Result<NpyHeader, Refusal> {
        NpyHeader::read(&MemoryStore::new(bytes))
    }

    #[test]
    fn headers_of_all_versions() {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }   \n";
        for (major, offset) in [(1, 10), (2, 12), (3, 12)] {
            let header = read(file(major, text)).unwrap();
            assert_eq!((header.descr(), header.shape()), ("<f8", &[3, 4][..]));
            assert_eq!(header.data_offset(), offset + text.len() as u64);
            assert!(!header.is_fortran_order());
            assert_eq!(header.elements(), Some(12));
            header.check::<f64>().unwrap();
            assert!(header.check::<i64>().is_err() && header.check::<f32>().is_err());
        }
        for (text, shape) in [
            (
                "{\"shape\":(),\"descr\":\"|u1\",\"fortran_order\":True}",
                &[][..],
            ),
            (
                "{'shape': (5L,), 'fortran_order': True, 'descr': '|u1'}\n",
                &[5],
            ),
            (
                "{'shape':(0,7),'fortran_order':True,'descr':'>u1'}",
                &[0, 7],
            ),
        ] {
            let header = read(file(1, text)).unwrap();
            assert_eq!(header.shape(), shape);
            assert!(header.is_fortran_order());
            header.check::<u8>().unwrap();
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f8', 'fortran_order': False}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4)} x",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), 'shape': (3, 4)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f8', 'fortran_order': None, 'shape': (3,)}",
            "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f8, 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f8', 'other': False, 'shape': (3,)}",
        ] {
            assert!(
                matches!(read(file(1, text)), Err(Refusal::Invalid(_))),
                "{text}"
            );
        }
        assert!(read(file(4, "{}")).is_err());
        assert!(read(b"\x93NUMPX\x01\0\0\0\0\0".to_vec()).is_err());
        let mut long = file(2, "{}");
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(long).is_err());
    }

    #[test]
    fn other_byte_orders_and_impossible_shapes() {
        let text = "{'descr': '>i4', 'fortran_order': False, 'shape': (9999999999, 9999999999)}";
        let header = read(file(1, text)).unwrap();
        assert_eq!(header.elements(), None);
        assert_eq!(header.check::<i32>().is_ok(), cfg!(target_endian = "big"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_as_it_was_written(
            shape in prop::collection::vec(0..1000usize, 0..5),
            is_fortran_order: bool,
            blanks in "[ \n]{0,20}",
        ) {
            let axes: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
            let order = if is_fortran_order { "True" } else { "False" };
            let text = format!("{{'descr': '<i2', 'fortran_order': {order}, 'shape': ({axes}), }}{blanks}");
            let header = read(file(1, &text)).unwrap();
            prop_assert_eq!(header.shape(), &shape[..]);
            prop_assert_eq!(header.is_fortran_order(), is_fortran_order);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(bytes);
        }

        #[test]
        fn no_change_of_a_header_makes_it_panic(at in 0..80usize, with: u8, cut in 0..80usize) {
            let mut bytes = file(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }   \n");
            let len = bytes.len();
            bytes[at % len] = with;
            let _ = read(bytes.clone());
            bytes.truncate(cut);
            let _ = read(bytes);
        }
    }
}
