//! `Serialize` and `Deserialize`: a vector is a sequence.

use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_core::ser::{Serialize, Serializer};

use super::ReservedVec;

impl<T: Serialize> Serialize for ReservedVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ReservedVec<T> {
    /// Returns a vector with the maximum of [`ReservedVec::new`]. If the elements do not fit into memory, returns an
    /// error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReservedVec<T>, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = ReservedVec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut sequence: A,
            ) -> Result<ReservedVec<T>, A::Error> {
                // A length that the input announces is not trusted. Growing step by step costs almost nothing.
                let mut vec = ReservedVec::new();
                while let Some(element) = sequence.next_element()? {
                    vec.try_push(element).map_err(A::Error::custom)?;
                }
                Ok(vec)
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
