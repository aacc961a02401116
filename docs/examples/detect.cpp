// Detections in a binary PPM image (P6), with ONNX Runtime's C++ interface and no other library.
//
//   regard export yolov5n.pt --format onnx --nms --imgsz 640 -o detector.onnx
//   g++ -std=c++17 detect.cpp -I onnxruntime/include -L onnxruntime/lib -lonnxruntime -o detect
//   ./detect detector.onnx street.ppm
//
// It prints one line per detection: left, top, right, bottom in pixels of the image, score, index of the class.
// The image is scaled and padded, and boxes are brought back to it, as `regard predict --imgsz` does it with the size for
// which the file was exported.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

Image read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  Image image;
  int most = 0;
  if (!(file >> kind >> image.width >> image.height >> most) || kind != "P6" || most != 255 || image.width < 1 ||
      image.height < 1 || image.width > 16384 || image.height > 16384)
    throw std::runtime_error(path + ": not a binary PPM image of 8 bits");
  file.get();  // the one space before the pixels
  image.rgb.resize(static_cast<size_t>(image.width * image.height * 3));
  if (!file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size())))
    throw std::runtime_error(path + ": truncated");
  return image;
}

// A pixel of the scaled image along one axis: two pixels of the image, and their weights in parts of 2048.
struct Tap {
  int64_t low, high;
  int low_weight, high_weight;
};

std::vector<Tap> taps(int64_t from, int64_t to) {
  const double step = 1 / (static_cast<double>(to) / static_cast<double>(from));
  std::vector<Tap> all;
  for (int64_t i = 0; i < to; ++i) {
    const float at = static_cast<float>((static_cast<double>(i) + 0.5) * step - 0.5), low = std::floor(at);
    const int64_t index = static_cast<int64_t>(low), last = from - 1;
    all.push_back({std::clamp<int64_t>(index, 0, last), std::clamp<int64_t>(index + 1, 0, last),
                   static_cast<int>(std::lrint((1 - (at - low)) * 2048)),
                   static_cast<int>(std::lrint((at - low) * 2048))});
  }
  return all;
}

// Bilinear, in the fixed-point arithmetic of OpenCV's INTER_LINEAR for 8 bits, so that the pixels are the same.
Image resized(const Image& image, int64_t width, int64_t height) {
  const std::vector<Tap> columns = taps(image.width, width), rows = taps(image.height, height);
  Image scaled{width, height, {}};
  for (const Tap& row : rows)
    for (const Tap& column : columns)
      for (int64_t channel = 0; channel < 3; ++channel) {
        const auto across = [&](int64_t y) {
          const uint8_t* pixels = &image.rgb[static_cast<size_t>(y * image.width * 3 + channel)];
          return pixels[column.low * 3] * column.low_weight + pixels[column.high * 3] * column.high_weight;
        };
        const int low = (row.low_weight * (across(row.low) >> 4)) >> 16;
        const int high = (row.high_weight * (across(row.high) >> 4)) >> 16;
        scaled.rgb.push_back(static_cast<uint8_t>((low + high + 2) >> 2));
      }
  return scaled;
}

// A whole number in the header that `regard export` writes into the file, in JSON.
int64_t number(const std::string& header, const std::string& name) {
  const std::string key = '"' + name + "\":";
  const size_t at = header.find(key);
  if (at == std::string::npos) throw std::runtime_error("the file was not exported by regard: no " + name);
  return std::stoll(header.substr(at + key.size(), 20));
}

int64_t padded(int64_t side, int64_t stride) { return (side + stride - 1) / stride * stride; }

// Bring a box side of the network's input, `padded` pixels long, back to the image, and clip it to that.
struct Axis {
  double scale, pad, length;
  Axis(int64_t length, int64_t padded, double scale, bool whole_pixels) : length(static_cast<double>(length)) {
    double placed = this->length * scale;
    if (whole_pixels) placed = std::max(std::nearbyint(placed), 1.0);
    pad = (static_cast<double>(padded) - placed) / 2;
    if (whole_pixels) pad = std::floor(pad);
    this->scale = placed / this->length;
  }
  double operator()(float at) const { return std::clamp((at - pad) / scale, 0.0, length); }
};

int main(int count, char** arguments) try {
  if (count != 3) {
    std::cerr << "usage: detect DETECTOR.onnx IMAGE.ppm\n";
    return 2;
  }
  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "detect");
  Ort::SessionOptions options;
#ifdef _WIN32
  const std::string name(arguments[1]);
  Ort::Session session(environment, std::wstring(name.begin(), name.end()).c_str(), options);
#else
  Ort::Session session(environment, arguments[1], options);
#endif
  Ort::AllocatorWithDefaultOptions allocator;
  const auto metadata = session.GetModelMetadata().LookupCustomMetadataMapAllocated("regard", allocator);
  const std::string header = metadata ? metadata.get() : "";
  const int64_t stride = number(header, "max_stride");
  const bool whole_pixels = header.find("\"whole_pixels\":true") != std::string::npos;

  const Image image = read_ppm(arguments[2]);
  const double side = static_cast<double>(padded(number(header, "imgsz"), stride));
  const double scale = std::min(side / image.width, side / image.height);
  const auto scaled = [&](int64_t length) { return std::max<int64_t>(std::lrint(length * scale), 1); };
  const Image small = resized(image, scaled(image.width), scaled(image.height));
  const int64_t width = padded(small.width, stride), height = padded(small.height, stride);
  const int64_t left = (width - small.width) / 2, top = (height - small.height) / 2;
  std::vector<float> pixels(static_cast<size_t>(3 * width * height), 114.0f / 255);  // planes of R, G and B
  for (int64_t y = 0; y < small.height; ++y)
    for (int64_t x = 0; x < small.width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        pixels[(c * height + y + top) * width + x + left] = small.rgb[(y * small.width + x) * 3 + c] / 255.0f;

  const std::vector<int64_t> shape{1, 3, height, width};
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Value input = Ort::Value::CreateTensor<float>(memory, pixels.data(), pixels.size(), shape.data(), shape.size());
  const auto input_name = session.GetInputNameAllocated(0, allocator);
  const char* inputs[] = {input_name.get()};
  const char* outputs[] = {"detections"};
  const auto found = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 1);

  const double back = std::min(static_cast<double>(width) / image.width, static_cast<double>(height) / image.height);
  const Axis across(image.width, width, back, whole_pixels), down(image.height, height, back, whole_pixels);
  const int64_t rows = found[0].GetTensorTypeAndShapeInfo().GetShape()[0];
  const float* row = found[0].GetTensorData<float>();  // image, left, top, right, bottom, score, class
  for (int64_t i = 0; i < rows; ++i, row += 7)
    std::printf("%.2f %.2f %.2f %.2f %.4f %d\n", across(row[1]), down(row[2]), across(row[3]), down(row[4]), row[5],
                static_cast<int>(row[6]));
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
