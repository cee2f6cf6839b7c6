//! Finding a region by an address or a name.

use std::str::FromStr;

use super::{Region, Snapshot};
use crate::error::Error;
use crate::escape::escaped;

/// The description of a region to find. As text, an address starts with `0x` or consists of 8 or more hexadecimal
/// digits, as in /proc/PID/maps. Any other text is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The region that contains this address.
    Address(u64),
    /// The region with this name, part of a name, or kind.
    Name(String),
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Wanted, Error> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let is_bare = text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.or_else(|| is_bare.then_some(text)) {
            Some(digits) => match u64::from_str_radix(digits, 16) {
                Ok(address) => Ok(Wanted::Address(address)),
                Err(_) => Err(Error::other(
                    "an address is 0x and up to 16 hexadecimal digits",
                )),
            },
            None if text.is_empty() => Err(Error::other("a name or an address is needed")),
            None => Ok(Wanted::Name(text.to_owned())),
        }
    }
}

impl Snapshot {
    /// Returns the region that contains an address, or that has this name. A region with exactly this name comes before
    /// regions that contain it in their name or have it as their kind.
    ///
    /// # Errors
    /// Fails if there is no such region, or if there are several.
    pub fn find(&self, wanted: &Wanted) -> Result<Region, Error> {
        let regions = self.regions();
        match wanted {
            Wanted::Address(address) => {
                let found = regions
                    .into_iter()
                    .find(|region| (region.start..region.end).contains(address));
                found.ok_or_else(|| Error::other(format!("nothing is mapped at {address:#x}")))
            }
            Wanted::Name(name) => {
                let mut found: Vec<Region> = regions
                    .into_iter()
                    .filter(|region| region.is_called(name))
                    .collect();
                // The same name in full is better than as a part.
                if let Some(exact) = found.iter().position(|region| region.name == *name) {
                    return Ok(found.swap_remove(exact));
                }
                match found.len() {
                    0 => Err(Error::other(format!(
                        "no region is called {name:?}; the table of all regions has the names"
                    ))),
                    1 => Ok(found.swap_remove(0)),
                    count => {
                        let first: Vec<String> = found
                            .iter()
                            .take(3)
                            .map(|region| format!("{:#x} {}", region.start, escaped(&region.name)))
                            .collect();
                        let first = first.join(", ");
                        Err(Error::other(format!(
                            "{count} regions are called {name:?}: {first} ...; take an address"
                        )))
                    }
                }
            }
        }
    }
}

impl Region {
    fn is_called(&self, name: &str) -> bool {
        self.name.contains(name) || self.kind.word() == name
    }
}
