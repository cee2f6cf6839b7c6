//! Reserve address space once, commit pages when they are touched, never move the data.
