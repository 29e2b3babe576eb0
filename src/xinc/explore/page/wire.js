// Numbers from Python: see wire.py. unpack(buffer) gives plain values and typed arrays, each with its shape.

const KINDS = { f4: Float32Array, f2: Uint16Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array };

export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const values = { ...header.values };
  for (const [name, [kind, shape, offset, bytes]] of Object.entries(header.arrays)) {
    const Kind = KINDS[kind];
    let data = new Kind(buffer, 4 + length + offset, bytes / Kind.BYTES_PER_ELEMENT);
    if (kind === "f2") data = widened(data);
    data.shape = shape;
    values[name] = data;
  }
  return values;
}

// 16-bit floats as 32-bit ones.
function widened(half) {
  const out = new Float32Array(half.length);
  for (let n = 0; n < half.length; n++) {
    const bits = half[n], sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    out[n] = exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

export function bytesOf(base64) {
  const text = atob(base64.trim()), bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
  return bytes;
}
