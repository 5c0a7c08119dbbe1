#!/bin/sh
# Makes the files here: with GNU gzip 1.12, pigz 2.6 (-11 is zopfli), bsdtar 3.6.2 and the
# zlib 1.2.13 of Python. The text is our own source, numbers, zeros and noise.
cd "$(dirname "$0")" || exit
t=$(mktemp -d)
python3 - "$t/text" ../table.go ../block.go <<'END'
import random, struct, sys
random.seed(1)
b = b''.join(open(f, 'rb').read() for f in sys.argv[2:])
b += b''.join(struct.pack('<IHBB', i * i, i, i & 7, random.randrange(4)) for i in range(500))
b += bytes(700) + random.randbytes(1500) + b[3000:6000]
open(sys.argv[1], 'wb').write(b)
END
for l in 1 2 3 4 5 6 7 8 9; do gzip -n -$l -c "$t/text" >gzip-$l.gz; done
for l in 1 6 11; do pigz -n -$l -b 128 -c "$t/text" >pigz-$l.gz; done
for i in 1 2 3 4 5 6 7 8; do cat "$t/text"; done >"$t/long"
pigz -n -p 2 -i -b 128 -c "$t/long" >pigz-independent.gz
bsdtar -czf bsdtar.gz -C "$t" text
python3 - "$t/text" <<'END'
import sys, zlib
b = open(sys.argv[1], 'rb').read()
for name, strategy, memory in [('fixed', zlib.Z_FIXED, 9), ('rle', zlib.Z_RLE, 9), ('huffman', zlib.Z_HUFFMAN_ONLY, 9), ('blocks', zlib.Z_DEFAULT_STRATEGY, 1)]:
    c = zlib.compressobj(6, zlib.DEFLATED, 31, memory, strategy)
    out = c.compress(b[:5000]) + c.flush(zlib.Z_SYNC_FLUSH) + c.compress(b[5000:9000]) + c.flush(zlib.Z_PARTIAL_FLUSH)
    open('zlib-' + name + '.gz', 'wb').write(out + c.compress(b[9000:]) + c.flush())
END
rm -r "$t"
