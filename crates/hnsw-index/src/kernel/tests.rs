//! Every level against plain arithmetic.

use super::*;

/// A generator whose whole state is the seed (Steele, Lea, Flood: SplitMix).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn value(&mut self) -> f32 {
        let mantissa = (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5;
        mantissa * [1.0, 1e-3, 1e20, 1e-40][(self.next() % 4) as usize]
    }
}

fn levels() -> Vec<&'static Kernels> {
    let levels: Vec<_> = Level::ALL.into_iter().filter_map(Kernels::at).collect();
    println!("levels of this machine: {levels:?}");
    levels
}

const DIMENSIONS: [usize; 16] = [1, 2, 7, 8, 9, 15, 16, 31, 63, 64, 65, 100, 384, 768, 2056, 16384];

#[test]
fn every_level_computes_the_same_bits_of_products_and_distances_at_any_address() {
    let mut random = Random(1);
    for dimension in DIMENSIONS {
        let query: Vec<f32> = (0..dimension).map(|_| random.value()).collect();
        let values: Vec<f32> = (0..dimension).map(|_| random.value()).collect();
        for shift in [0, 1, 3] {
            let mut bytes = vec![0xAA; shift];
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            let row = &bytes[shift..];
            let mut lanes = [[0.0f64; 8]; 3];
            for (index, (q, x)) in query.iter().zip(&values).enumerate() {
                let (q, x) = (f64::from(*q), f64::from(*x));
                lanes[0][index % 8] += q * x;
                lanes[1][index % 8] += x * x;
                lanes[2][index % 8] += (q - x) * (q - x);
            }
            let [product, square, distance] =
                lanes.map(|l| ((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7])));
            for kernels in levels() {
                let (p, s) = (kernels.dot)(&query, row);
                let d = (kernels.distance)(&query, row);
                let got = [p, s, d].map(f64::to_bits);
                assert_eq!(got, [product, square, distance].map(f64::to_bits), "{kernels:?}, {dimension}, {shift}");
            }
        }
    }
}

#[test]
fn every_level_multiplies_codes_exactly_also_at_their_extremes() {
    let mut random = Random(2);
    for length in DIMENSIONS {
        for extreme in [None, Some((-128, -128)), Some((127, -128)), Some((-128, 127)), Some((127, 127))] {
            let (a, b): (Vec<i8>, Vec<i8>) =
                (0..length).map(|_| extreme.unwrap_or((random.next() as i8, random.next() as i8))).unzip();
            let expected: i64 = a.iter().zip(&b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
            for kernels in levels() {
                assert_eq!(i64::from((kernels.dot_i8)(&a, &b)), expected, "{kernels:?}, {length}, {extreme:?}");
            }
        }
    }
}

#[test]
fn every_level_multiplies_scattered_rows() {
    let mut random = Random(6);
    for length in [1, 63, 64, 128, 192, 384] {
        let query: Vec<i8> = (0..length).map(|_| random.next() as i8).collect();
        let column: Vec<i8> = (0..length * 50).map(|_| random.next() as i8).collect();
        let rows: Vec<u16> = (0..40).map(|_| (random.next() % 50) as u16).collect();
        let expected: Vec<i32> = rows.iter().map(|row| scalar::dot_i8(&query, row_of(&column, *row, length))).collect();
        for kernels in levels() {
            let mut products = vec![0; rows.len()];
            (kernels.dots_i8)(&query, &column, &rows, &mut products);
            assert_eq!(products, expected, "{kernels:?}, {length}");
        }
    }
}

#[test]
fn every_level_looks_up_the_same_sums() {
    let mut random = Random(3);
    for lines in [0, 1, 2, 48, 255, 256, 257, 513, 2048] {
        let tile: Vec<u8> = (0..lines * TILE_ROWS).map(|_| random.next() as u8).collect();
        // The two halves of a table may add up to 255.
        let tables: Vec<u8> =
            (0..lines * TABLE_BYTES).map(|at| if at % 32 < 16 { 200 - (at % 3) as u8 } else { 55 }).collect();
        let mut expected = [0u32; TILE_ROWS];
        for line in 0..lines {
            for (row, sum) in expected.iter_mut().enumerate() {
                let byte = usize::from(tile[line * TILE_ROWS + row]);
                *sum += u32::from(tables[line * 32 + byte % 16]) + u32::from(tables[line * 32 + 16 + byte / 16]);
            }
        }
        for kernels in levels() {
            let mut sums = [7; TILE_ROWS];
            (kernels.sums)(&tile, &tables, &mut sums);
            assert_eq!(sums, expected, "{kernels:?}, {lines} lines");
        }
    }
}

#[test]
fn every_level_agrees_on_who_passes_but_for_the_last_bit() {
    let mut random = Random(4);
    for _ in 0..500 {
        let sums: [u32; TILE_ROWS] = std::array::from_fn(|_| random.next() as u32 % 100_000);
        let alphas: [u16; TILE_ROWS] = std::array::from_fn(|_| random.next() as u16);
        let betas: [u16; TILE_ROWS] = std::array::from_fn(|_| random.next() as u16);
        let line = Line { alpha: 1.3, beta: 0.4, constant: 1234.5 };
        let least = |row: usize| f64::from(alphas[row]) * 1.3 - f64::from(betas[row]) * 0.4 + 1234.5;
        for kernels in levels() {
            let mask = (kernels.passing)(&sums, &alphas, &betas, line);
            for (row, sum) in sums.iter().enumerate() {
                let over = f64::from(*sum) - least(row);
                if over.abs() > 0.05 {
                    assert_eq!(mask >> row & 1 == 1, over > 0.0, "{kernels:?}, row {row}, {over}");
                }
            }
        }
        for kernels in levels() {
            let all = |constant| (kernels.passing)(&sums, &alphas, &betas, Line { alpha: 0.0, beta: 0.0, constant });
            assert_eq!((all(f32::NEG_INFINITY), all(f32::INFINITY)), (u64::MAX, 0), "{kernels:?}");
        }
    }
}

#[test]
fn every_level_quantizes_alike() {
    let mut random = Random(5);
    for dimension in DIMENSIONS {
        let values: Vec<f32> = (0..dimension).map(|_| random.value()).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let of = |kernels: &Kernels| {
            let (mut codes, mut bits) = (vec![0; dimension.next_multiple_of(64)], vec![0; dimension.div_ceil(8)]);
            let measures = (kernels.measure)(&bytes);
            let factor = 1.0 / measures.square.sqrt();
            let scale = ((f64::from(measures.largest) * factor / 127.0) as f32).next_up();
            let residual = (kernels.quantize)(&bytes, factor, scale, &mut codes, &mut bits);
            let signs = |(index, value): (usize, &f32)| {
                bits[index / 8] >> (index % 8) & 1 == u8::from(value.is_sign_positive())
            };
            assert!(values.iter().enumerate().all(signs), "{kernels:?}, {dimension}");
            let numbers = [measures.square, measures.absolute, f64::from(measures.largest), residual];
            (codes, bits, numbers.map(f64::to_bits))
        };
        let expected = of(&scalar::KERNELS);
        assert_eq!(expected.0.iter().map(|code| code.unsigned_abs()).max(), Some(127), "{dimension}");
        for kernels in levels() {
            assert_eq!(of(kernels), expected, "{kernels:?}, {dimension}");
        }
    }
}
