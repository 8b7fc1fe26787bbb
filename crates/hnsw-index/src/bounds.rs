//! The arithmetic of certainty: what the codes prove about a similarity, rounded to the side on which nothing is lost.
//!
//! Three facts carry the cascade, for unit vectors `q` and `x` (the first two are Cauchy-Schwarz; the last is the triangle inequality on
//! the sphere).
//! - Of `x = s·c + r`: `|q·x - q·(s·c)| <= |r|`. Of the query's own codes `q = t·e + p`: `|q·(s·c) - t·e·(s·c)| <= |p|·(1 + |r|)`.
//! - A number that was computed with tables of rounded entries is off by the sum of the largest roundings at most.
//! - If `x` is at angle `A` from its sign vector `b`, and `q` at angle `G` from it, then `q` and `x` are at least `G - A` apart. So whoever
//!   is within `T` of `q` has `G <= A + T`, which is `q·b >= cos(A + T) = alpha·t - beta·sqrt(1 - t²)`.

use crate::kernel::Line;
use crate::metric::Metric;
use crate::query::Query;

/// More than what rounding in `f64` adds up to in a cosine: 16,384 dimensions stay below 1e-11.
pub(crate) const SLACK: f64 = 1e-9;

/// More than what rounding in `f64` adds up to in a number, as a share of the largest number on the way.
const SHARE: f64 = 1e-12;

/// The units of alpha and beta.
pub(crate) const UNIT: f64 = 65536.0;

/// A similarity to be reached, as a threshold for the cosine of a row of length `n`: `rising · n + falling / n + constant`. Whatever rounding
/// may add is in the coefficients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    pub(crate) rising: f64,
    pub(crate) falling: f64,
    pub(crate) constant: f64,
}

impl Threshold {
    /// `min` is compared with a similarity that was rounded to `f32`, so a little less than `min` may meet it.
    pub(crate) fn new(query: &Query, min: f32) -> Threshold {
        // A similarity beyond what `f32` can say is rounded to infinity, and meets it.
        let min = f64::from(min.min(f32::MAX));
        let rounding = min.abs() * f64::from(f32::EPSILON) + f64::from(f32::from_bits(1));
        let norm = query.norm();
        match query.metric() {
            Metric::Cosine => Threshold { rising: 0.0, falling: 0.0, constant: min - rounding - SLACK },
            // q·x >= m is cos >= (m / |q|) / |x|.
            Metric::InnerProduct => {
                let falling = (min - rounding) / norm;
                Threshold { rising: 0.0, falling: falling - falling.abs() * SHARE, constant: -SLACK }
            }
            // |q - x| <= r is cos >= (|q|² + |x|² - r²) / 2|q||x|.
            Metric::Euclidean => {
                let distance = 1.0 - min;
                let reach = distance + rounding + (1.0 + distance.abs()) * SHARE;
                if reach < 0.0 {
                    return Threshold { rising: 0.0, falling: 0.0, constant: f64::INFINITY };
                }
                let (square, reach) = (norm * norm, reach * reach);
                Threshold {
                    rising: (1.0 - SHARE) / (2.0 * norm),
                    falling: (square - reach - (square + reach) * SHARE) / (2.0 * norm),
                    constant: -SLACK,
                }
            }
        }
    }

    /// The threshold of the cosine where it is the same for every row.
    pub(crate) fn of_all_rows(&self) -> Option<f64> {
        (self.rising == 0.0 && self.falling == 0.0).then_some(self.constant)
    }

    /// The least cosine at which a row of this length may reach the similarity; above 1 if it cannot.
    #[inline(always)]
    pub(crate) fn cosine(&self, norm: f64) -> f64 {
        self.rising * norm + self.falling / norm + self.constant
    }
}

/// What is known of one similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) lower: f32,
    pub(crate) upper: f32,
}

/// The similarity of a row of length `norm` whose cosine is within `error` of `cosine`.
pub(crate) fn interval(query: &Query, cosine: f64, error: f64, norm: f64) -> Interval {
    let low = (cosine - error - SLACK).clamp(-1.0, 1.0);
    let high = (cosine + error + SLACK).clamp(-1.0, 1.0);
    match query.metric() {
        Metric::Cosine => Interval { lower: down(low), upper: up(high) },
        Metric::InnerProduct => {
            let both = query.norm() * norm;
            let rest = both * SHARE;
            Interval { lower: down(low * both - rest), upper: up(high * both + rest) }
        }
        Metric::Euclidean => {
            let (squares, both) = (query.norm() * query.norm() + norm * norm, query.norm() * norm);
            let far = (squares - 2.0 * both * low + squares * SHARE).max(0.0).sqrt() * (1.0 + SHARE);
            let near = (squares - 2.0 * both * high - squares * SHARE).max(0.0).sqrt() * (1.0 - SHARE);
            Interval { lower: down(1.0 - far - SHARE), upper: up(1.0 - near + SHARE) }
        }
    }
}

/// The similarity that a cosine stands for, without any promise.
pub(crate) fn estimate(metric: Metric, cosine: f64, norm_a: f64, norm_b: f64) -> f32 {
    let both = norm_a * norm_b;
    match metric {
        Metric::Cosine => cosine as f32,
        Metric::InnerProduct => (cosine * both) as f32,
        Metric::Euclidean => (1.0 - (norm_a * norm_a + norm_b * norm_b - 2.0 * both * cosine).max(0.0).sqrt()) as f32,
    }
}

/// The cosine and sine of the angle between a vector and its signs, in units of 1/65,536, such that the angle they stand for is not smaller.
pub(crate) fn angle(alpha: f64) -> (u16, u16) {
    let low = ((alpha - SLACK) * UNIT).floor().clamp(0.0, UNIT - 1.0);
    let alpha = low / UNIT;
    let sine = ((1.0 - alpha) * (1.0 + alpha)).sqrt();
    (low as u16, ((sine + SLACK) * UNIT).ceil().clamp(0.0, UNIT - 1.0) as u16)
}

/// How a row's sum of table entries tells its `q·b`: it is `sum · step + floor`, but for `error`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    pub(crate) step: f64,
    pub(crate) floor: f64,
    pub(crate) error: f64,
}

impl Gauge {
    /// Where a row's sum must reach for its cosine to be `cosine` or more.
    #[inline(always)]
    pub(crate) fn line(&self, cosine: f64) -> Line {
        let within = cosine.clamp(0.0, 1.0);
        let sine = ((1.0 - within) * (1.0 + within)).sqrt();
        let (alpha, beta, constant) = (within / self.step, sine / self.step, -(self.floor + self.error) / self.step);
        // The kernels compute in f32, with a fused addition or without.
        let rounding = (alpha + beta + constant.abs()) * 1e-6 + 0.01;
        let constant = (constant - rounding) as f32;
        // Beyond the right angle the bound fails where A + T exceeds half a turn. Such thresholds rule out next to nothing anyway.
        let constant = if cosine <= 0.0 { f32::NEG_INFINITY } else { constant };
        let constant = if cosine > 1.0 + SLACK { f32::INFINITY } else { constant };
        Line { alpha: (alpha / UNIT) as f32, beta: (beta / UNIT) as f32, constant }
    }
}

/// The nearest `f32` that is not below.
pub(crate) fn up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

/// The nearest `f32` that is not above.
pub(crate) fn down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_outward() {
        for value in [0.1, -0.1, 1e300, -1e300, 1e-60, -1e-60, 0.0, 1.0] {
            assert!(f64::from(down(value)) <= value && value <= f64::from(up(value)), "{value}");
        }
        assert_eq!((up(0.5), down(0.5)), (0.5, 0.5));
    }

    #[test]
    fn what_rounds_up_to_a_threshold_is_not_below_it() {
        let of = |metric| Query::from_values(metric, &[3.0, 4.0], 2).expect("a vector");
        for min in [1.0f32, 0.85, 1e-30, 0.0, -0.5, f32::MAX] {
            // Halfway to the number below, where rounding to even may go up.
            let half = (f64::from(min) + f64::from(min.next_down())) / 2.0;
            let Threshold { constant, .. } = Threshold::new(&of(Metric::Cosine), min);
            assert!(constant < half, "cosine {min}");
            for norm in [1e-40, 1e-3, 1.0, 1e30] {
                let product = Threshold::new(&of(Metric::InnerProduct), min).cosine(norm);
                assert!(product < half / (5.0 * norm), "product {min}, {norm}");
                let (near, square) = (1.0 - half, 25.0 + norm * norm);
                let distance = Threshold::new(&of(Metric::Euclidean), min).cosine(norm);
                assert!(distance < (square - near * near) / (10.0 * norm) || near < 0.0, "distance {min}, {norm}");
            }
        }
    }

    #[test]
    fn an_angle_is_never_smaller_than_the_true_one() {
        for step in 0..=1000 {
            let alpha = f64::from(step) / 1000.0;
            let (cosine, sine) = angle(alpha);
            assert!(f64::from(cosine) / UNIT <= alpha, "{alpha}");
            // One step short of the right angle is all that sixteen bits can say.
            let exact = (1.0 - alpha * alpha).sqrt().min(65535.0 / UNIT);
            assert!(f64::from(sine) / UNIT >= exact, "{alpha}");
        }
    }
}
