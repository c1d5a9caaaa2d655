//! JPEG files: pictures to bytes, and back where a smaller one is asked for.
//! The only file that names the two crates.

use bytes::Bytes;
use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::plane::{Picture, Plane};

/// What libjpeg's users know as 80: no block is seen, half the bytes of 90.
const QUALITY: u8 = 80;
/// Most samples of a picture that is read back: 48 MiB of them. The largest
/// cameras have 12 million.
const MAX_PIXELS: usize = 16 << 20;

/// A picture on its way into a file.
struct Rows<'p> {
    picture: &'p Picture,
    width: u16,
    height: u16,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let Picture { luma, chroma } = self.picture;
        let [lumas, blues, reds, _] = buffers;
        lumas.extend_from_slice(luma.row(usize::from(y)));
        for (plane, out) in chroma.iter().zip([blues, reds]) {
            let row = plane.row(usize::from(y / 2));
            let doubled = row.iter().flat_map(|&sample| [sample, sample]);
            // The encoder takes the first of each two again.
            out.extend(doubled.take(luma.width));
        }
    }
}

/// The 4:2:0 picture as a file.
///
/// # Errors
///
/// A picture of no samples, or above 65,535 a side.
pub(super) fn encode(picture: &Picture) -> Result<Bytes, String> {
    let side = |side: usize| u16::try_from(side).map_err(|_| "the picture is too large");
    let (width, height) = (side(picture.luma.width)?, side(picture.luma.height)?);
    let mut file = Vec::with_capacity(usize::from(width) * usize::from(height) / 8);
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode_image(Rows { picture, width, height }).map_err(|error| error.to_string())?;
    file.shrink_to_fit();
    Ok(file.into())
}

/// The picture in a file, with chroma as dense as luma.
///
/// # Errors
///
/// What is no JPEG file, or one of too many samples; in words.
pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let unreadable = |error| format!("the camera's JPEG cannot be read: {error:?}");
    // No platform-specific code, so none that is unsafe.
    let options = DecoderOptions::new_safe()
        .jpeg_set_out_colorspace(ColorSpace::YCbCr)
        .jpeg_set_max_scans(64);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(unreadable)?;
    let (width, height) =
        decoder.info().map_or((0, 0), |info| (usize::from(info.width), usize::from(info.height)));
    if width * height == 0 || width * height > MAX_PIXELS {
        return Err(format!("the camera's JPEG of {width} x {height} is beyond 16 megapixels"));
    }
    let samples = decoder.decode().map_err(unreadable)?;
    if samples.len() < width * height * 3 {
        return Err("the camera's JPEG is no colour picture".into());
    }
    let plane = |at: usize| Plane {
        width,
        height,
        samples: samples.iter().skip(at).step_by(3).take(width * height).copied().collect(),
    };
    Ok(Picture { luma: plane(0), chroma: [plane(1), plane(2)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Picture {
        let half = (width.div_ceil(2), height.div_ceil(2));
        let slope = |w: usize, h: usize, step: usize| Plane {
            width: w,
            height: h,
            samples: (0..w * h).map(|at| (at % w * step + at / w) as u8).collect(),
        };
        Picture {
            luma: slope(width, height, 2),
            chroma: [slope(half.0, half.1, 1), Plane::flat(half.0, half.1, 200)],
        }
    }

    #[test]
    fn what_is_written_is_read_back_also_in_odd_sizes() {
        for (width, height) in [(64, 48), (33, 17), (1, 1)] {
            let picture = picture(width, height);
            let back = decode(&encode(&picture).unwrap()).unwrap();
            assert_eq!((back.luma.width, back.luma.height), (width, height));
            let back = back.scaled(width, height);
            let planes = [(&back.luma, &picture.luma), (&back.chroma[1], &picture.chroma[1])];
            for (back, picture) in planes {
                let pairs = back.samples.iter().zip(&picture.samples);
                let far = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(far <= 8, "{width} x {height}: {far}");
            }
        }
    }

    #[test]
    fn what_is_no_jpeg_is_refused_in_words() {
        let whole = encode(&picture(64, 48)).unwrap();
        assert!(decode(b"").unwrap_err().contains("cannot be read"));
        assert!(decode(b"<html>").unwrap_err().contains("cannot be read"));
        assert!(decode(&whole[..40]).is_err());
        // A header that promises 65,500 x 65,500.
        let mut huge = whole.to_vec();
        let frame = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        huge[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
        let why = decode(&huge).unwrap_err();
        assert!(why.contains("beyond") || why.contains("cannot be read"), "{why}");
    }
}
