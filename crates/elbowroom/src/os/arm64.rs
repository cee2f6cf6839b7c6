//! Distinguishes arm64 stores from loads by their encoding.

/// Returns whether this instruction, which faulted on data, writes memory.
///
/// Arm Architecture Reference Manual, C4.1 "Loads and stores": bits 29..28, 27, 25 choose the group. Atomic
/// read-modify-writes count as writes, as the hardware reports them.
pub(crate) fn is_store(instruction: u32) -> bool {
    let bit = |n: u32| (instruction >> n) & 1 == 1;
    let field = |high: u32, low: u32| (instruction >> low) & ((1 << (high - low + 1)) - 1);

    // DC ZVA, which zeroes a block, is a system instruction: op1 3, CRn 7, CRm 4.
    if instruction & 0xffff_ffe0 == 0xd50b_7420 {
        return true;
    }
    // The scalable vector extension has its stores in one group.
    if field(31, 25) == 0b111_0010 {
        return true;
    }
    // Every other load and store has bit 27 set and bit 25 clear.
    if !bit(27) || bit(25) {
        return false;
    }
    match field(29, 28) {
        // Advanced SIMD structures, and exclusives with acquire and release: bit 22 is L. With bit 21 set the latter
        // are exclusive pairs (bits 31 and 23 are 1 and 0), or compare-and-swap, which writes whatever L says.
        0b00 => {
            let is_exclusive_pair = bit(31) && !bit(23);
            let is_compare_and_swap = !bit(26) && bit(21) && !is_exclusive_pair;
            !bit(22) || is_compare_and_swap
        }
        // Literals only load. With bits 24 and 21 as 1 and 0, load-acquire and store-release of unscaled addresses:
        // opc in bits 23..22 is 0 for a store. Memory copy and set instructions write.
        0b01 => match (bit(24), bit(21)) {
            (false, _) => false,
            (true, false) => field(23, 22) == 0,
            (true, true) => true,
        },
        // Pairs: bit 22 is L.
        0b10 => !bit(22),
        // Single registers: with bit 24 clear, bit 21 set and bits 11..10 zero they are atomics, which write. Else opc
        // in bits 23..22: 00 stores, 10 stores for 128-bit vectors only, the rest loads or prefetches.
        _ => {
            // LDAPR is among the atomics, and only loads.
            if instruction & 0x3fff_fc00 == 0x38bf_c000 {
                false
            } else if !bit(24) && bit(21) && field(11, 10) == 0 && !bit(26) {
                true
            } else {
                match field(23, 22) {
                    0b00 => true,
                    0b10 => bit(26) && field(31, 30) == 0,
                    _ => false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_store;

    #[test]
    fn stores() {
        let stores = [
            ("strb w1, [x0]", 0x3900_0001),
            ("str x1, [x0]", 0xf900_0001),
            ("str x1, [x0], #8", 0xf800_8401),
            ("str x1, [x0, x2]", 0xf822_6801),
            ("stur w1, [x0, #1]", 0xb800_1001),
            ("stp x1, x2, [x0]", 0xa900_0801),
            ("stp x1, x2, [x0], #16", 0xa881_0801),
            ("str q0, [x0]", 0x3d80_0000),
            ("stp q0, q1, [x0]", 0xad00_0400),
            ("stxr w3, x1, [x0]", 0xc803_7c01),
            ("stlr x1, [x0]", 0xc89f_fc01),
            ("ldadd x1, x2, [x0]", 0xf821_0002),
            ("cas x1, x2, [x0]", 0xc8a1_7c02),
            ("st1 {v0.16b}, [x0]", 0x4c00_7000),
            ("dc zva, x0", 0xd50b_7420),
            ("casp x0, x1, x2, x3, [x4]", 0x4820_7c82),
            ("stxp w3, x1, x2, [x0]", 0xc823_0801),
            ("swp x1, x2, [x0]", 0xf821_8002),
            ("st1b {z0.b}, p0, [x0]", 0xe400_e000),
            ("str z0, [x0]", 0xe580_4000),
            ("str p0, [x0]", 0xe580_0000),
        ];
        for (text, code) in stores {
            assert!(is_store(code), "{text}");
        }
    }

    #[test]
    fn loads() {
        let loads = [
            ("ldrb w1, [x0]", 0x3940_0001),
            ("ldr x1, [x0]", 0xf940_0001),
            ("ldr x1, [x0], #8", 0xf840_8401),
            ("ldr x1, [x0, x2]", 0xf862_6801),
            ("ldrsw x1, [x0]", 0xb980_0001),
            ("ldp x1, x2, [x0]", 0xa940_0801),
            ("ldr q0, [x0]", 0x3dc0_0000),
            ("ldp q0, q1, [x0]", 0xad40_0400),
            ("ldr x1, #8", 0x5800_0041),
            ("ldxr x1, [x0]", 0xc85f_7c01),
            ("ldar x1, [x0]", 0xc8df_fc01),
            ("ld1 {v0.16b}, [x0]", 0x4c40_7000),
            ("prfm pldl1keep, [x0]", 0xf980_0000),
            ("ldxp x1, x2, [x0]", 0xc87f_0801),
            ("ldaxp x1, x2, [x0]", 0xc87f_8801),
            ("ldapr x1, [x0]", 0xf8bf_c001),
            ("ldaprb w1, [x0]", 0x38bf_c001),
            ("ld1b {z0.b}, p0/z, [x0]", 0xa400_a000),
            ("ldr z0, [x0]", 0x8580_4000),
        ];
        for (text, code) in loads {
            assert!(!is_store(code), "{text}");
        }
    }
}
