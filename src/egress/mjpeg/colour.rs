//! From a camera's colours to those of JPEG files: luma and chroma by BT.601,
//! in the full range (JFIF 1.02).

use super::plane::{Picture, Plane};
use crate::media::Colour;

/// Fixed point: bits behind it.
const POINT: u32 = 16;

/// Weights of red and blue in luma, by `matrix_coefficients` (H.264 table
/// E-5).
fn weights(matrix: u8, height: usize) -> (f64, f64) {
    match matrix {
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        5 | 6 => BT601,
        7 => (0.212, 0.087),
        9 | 10 => (0.2627, 0.0593),
        // Unspecified, or none of these: what players assume, since cameras of
        // more lines than television had are made for BT.709.
        _ if height > 576 => (0.2126, 0.0722),
        _ => BT601,
    }
}

/// What JFIF files have.
const BT601: (f64, f64) = (0.299, 0.114);

/// The picture in JFIF's colours.
pub(super) fn to_jfif(mut picture: Picture, from: Colour) -> Picture {
    let own = weights(from.matrix, picture.luma.height);
    if own == BT601 && from.full_range {
        return picture;
    }
    let transform = Transform::new(own, from.full_range);
    let Picture { luma, chroma: [blue, red] } = &mut picture;
    if own != BT601 {
        transform.tint(luma, blue, red);
    }
    for sample in &mut luma.samples {
        *sample = transform.luma[usize::from(*sample)];
    }
    for (blue, red) in blue.samples.iter_mut().zip(&mut red.samples) {
        (*blue, *red) = transform.chroma(*blue, *red);
    }
    picture
}

/// The linear map between two ways to say a colour. Luma of the one becomes
/// luma of the other with a share of both chromas; chroma stays chroma.
struct Transform {
    /// By luma sample, apart from the shares of chroma.
    luma: [u8; 256],
    /// Shares of blue and red in the new luma, in units of the old one.
    luma_shares: [i32; 2],
    /// New blue from the old two, new red from the old two.
    blue: [i32; 2],
    red: [i32; 2],
}

impl Transform {
    fn new((r, b): (f64, f64), full_range: bool) -> Self {
        let g = 1.0 - r - b;
        let (luma_scale, luma_offset, chroma_scale) =
            if full_range { (1.0, 0.0, 1.0) } else { (255.0 / 219.0, 16.0, 255.0 / 224.0) };
        let (jr, jb) = BT601;
        let jg = 1.0 - jr - jb;
        // A difference of 1 in a chroma, in red, green and blue beyond luma.
        let of_blue = [0.0, -2.0 * (1.0 - b) * b / g, 2.0 * (1.0 - b)];
        let of_red = [2.0 * (1.0 - r), -2.0 * (1.0 - r) * r / g, 0.0];
        let luma = |[red, green, blue]: [f64; 3]| jr * red + jg * green + jb * blue;
        let new_blue = |colour: [f64; 3]| (colour[2] - luma(colour)) / (2.0 * (1.0 - jb));
        let new_red = |colour: [f64; 3]| (colour[0] - luma(colour)) / (2.0 * (1.0 - jr));
        let fixed = |value: f64| (value * f64::from(1 << POINT)).round() as i32;
        let both = |share: &dyn Fn([f64; 3]) -> f64, scale: f64| {
            [fixed(share(of_blue) * scale), fixed(share(of_red) * scale)]
        };
        let table = |at: usize| ((at as f64 - luma_offset) * luma_scale).round() as u8;
        Self {
            luma: std::array::from_fn(table),
            luma_shares: both(&luma, chroma_scale / luma_scale),
            blue: both(&new_blue, chroma_scale),
            red: both(&new_red, chroma_scale),
        }
    }

    /// Adds the shares of chroma to luma.
    fn tint(&self, luma: &mut Plane, blue: &Plane, red: &Plane) {
        let (width, half) = (luma.width, blue.width < luma.width);
        let mut shares = vec![0; blue.width];
        for (row, line) in luma.samples.chunks_exact_mut(width.max(1)).enumerate() {
            let from = if half { row / 2 } else { row };
            if !half || row % 2 == 0 {
                let pairs = blue.row(from).iter().zip(red.row(from));
                for (share, (&blue, &red)) in shares.iter_mut().zip(pairs) {
                    *share = mixed(self.luma_shares, blue, red);
                }
            }
            for (at, sample) in line.iter_mut().enumerate() {
                let share = shares[if half { at / 2 } else { at }];
                *sample = (i32::from(*sample) + share).clamp(0, 255) as u8;
            }
        }
    }

    fn chroma(&self, blue: u8, red: u8) -> (u8, u8) {
        let level = |shares| (128 + mixed(shares, blue, red)).clamp(0, 255) as u8;
        (level(self.blue), level(self.red))
    }
}

/// Shares of two chroma samples, rounded to the nearest.
fn mixed(shares: [i32; 2], blue: u8, red: u8) -> i32 {
    let sum = shares[0] * (i32::from(blue) - 128) + shares[1] * (i32::from(red) - 128);
    (sum + (1 << (POINT - 1))) >> POINT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A colour as such a camera sends it (H.264 §E.2.1, equations E-8 on).
    fn sent(rgb: [f64; 3], (r, b): (f64, f64), full_range: bool) -> [u8; 3] {
        let luma = r * rgb[0] + (1.0 - r - b) * rgb[1] + b * rgb[2];
        let blue = (rgb[2] - luma) / (2.0 * (1.0 - b));
        let red = (rgb[0] - luma) / (2.0 * (1.0 - r));
        let (scale, offset, chroma) =
            if full_range { (255.0, 0.0, 255.0) } else { (219.0, 16.0, 224.0) };
        let level = |value: f64, scale: f64, zero: f64| (value * scale + zero).round() as u8;
        [level(luma, scale, offset), level(blue, chroma, 128.0), level(red, chroma, 128.0)]
    }

    #[test]
    fn colours_of_every_kind_of_camera_become_those_of_jpeg() {
        let colours = [
            [0.0, 0.0, 0.0],
            [1.0, 1.0, 1.0],
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.9, 0.5, 0.2],
        ];
        for matrix in [1, 4, 6, 7, 9] {
            for full_range in [false, true] {
                for rgb in colours {
                    let [y, b, r] = sent(rgb, weights(matrix, 0), full_range);
                    let picture = Picture {
                        luma: Plane::flat(3, 3, y),
                        chroma: [Plane::flat(2, 2, b), Plane::flat(2, 2, r)],
                    };
                    let got = to_jfif(picture, Colour { matrix, full_range });
                    let got = [got.luma, got.chroma[0].clone(), got.chroma[1].clone()];
                    let wanted = sent(rgb, BT601, true);
                    for (plane, wanted) in got.iter().zip(wanted) {
                        let far = plane.samples.iter().map(|s| s.abs_diff(wanted)).max().unwrap();
                        assert!(far <= 2, "{rgb:?} by {matrix}, {full_range}: {plane:?}, {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_unspecified_matrix_is_guessed_as_players_do() {
        assert_eq!(weights(2, 1080), weights(1, 0));
        assert_eq!(weights(2, 576), BT601);
        assert_eq!(weights(0, 720), weights(1, 0));
    }
}
