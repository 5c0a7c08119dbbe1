package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
)

// message is a frame being built: room for the header, then the body. Pooled,
// with an encoder that writes into it.
type message struct {
	buf []byte
	enc *json.Encoder
}

var messages = sync.Pool{New: func() any {
	m := &message{}
	m.enc = json.NewEncoder(m)
	m.enc.SetEscapeHTML(false)
	return m
}}

func newMessage() *message {
	m := messages.Get().(*message)
	if cap(m.buf) < headerSize {
		m.buf = make([]byte, headerSize, 512)
	}
	m.buf = m.buf[:headerSize]
	return m
}

func (m *message) free() {
	if cap(m.buf) <= pooledMax {
		messages.Put(m)
	}
}

// take moves the frame into another message, which is the caller's to free.
func (m *message) take() *message {
	t := newMessage()
	t.buf, m.buf = m.buf, t.buf
	return t
}

// Write is the encoder's.
func (m *message) Write(p []byte) (int, error) {
	m.buf = append(m.buf, p...)
	return len(p), nil
}

// add appends v as JSON; nil adds nothing.
func (m *message) add(v any) error {
	if v == nil {
		return nil
	}
	if done, err := m.addLong(v); done || err != nil {
		return err
	}
	return m.encode(v)
}

func (m *message) encode(v any) error {
	if err := m.enc.Encode(v); err != nil {
		return err
	}
	m.buf = m.buf[:len(m.buf)-1] // the encoder's newline
	return nil
}

// line starts a call's body: the method, and the time that is left.
func (m *message) line(ctx context.Context, method string) {
	m.buf = append(m.buf, method...)
	if at, ok := ctx.Deadline(); ok {
		m.buf = append(m.buf, ' ')
		m.buf = strconv.AppendInt(m.buf, max(1, time.Until(at).Microseconds()), 10)
	}
	m.buf = append(m.buf, '\n')
}

// body is its length so far, bytes.
func (m *message) body() int { return len(m.buf) - headerSize }

// frame completes the header.
func (m *message) frame(k kind, id uint64, files int) *message {
	header{size: uint32(m.body()), kind: k, files: uint16(files), id: id}.put(m.buf)
	return m
}

// maxMethod bounds the method line, bytes.
const maxMethod = 256

// parseCall splits a call's body. timeout is zero if the client set none.
func parseCall(body []byte) (method string, timeout time.Duration, params []byte, err error) {
	end := bytes.IndexByte(body[:min(len(body), maxMethod)], '\n')
	if end < 0 {
		return "", 0, nil, errors.New("no method line")
	}
	line, params := body[:end], body[end+1:]
	if sp := bytes.IndexByte(line, ' '); sp >= 0 {
		us, err := strconv.ParseInt(string(line[sp+1:]), 10, 64)
		if err != nil || us <= 0 {
			return "", 0, nil, errors.New("bad time in the method line")
		}
		line, timeout = line[:sp], time.Duration(min(us, int64(maxTimeout/time.Microsecond)))*time.Microsecond
	}
	if len(line) == 0 {
		return "", 0, nil, errors.New("no method")
	}
	return string(line), timeout, params, nil
}

const maxTimeout = 100 * 365 * 24 * time.Hour

// decoder decodes one text after another. It is pooled, because its buffer costs
// more than the decoding, and can refuse unknown fields, which encoding/json
// offers for streams only.
type decoder struct {
	dec  *json.Decoder
	text []byte // not read yet
	end  bool   // the newline behind the text has been read
	read int64  // bytes handed out
}

func newDecoder() *decoder {
	d := &decoder{}
	d.dec = json.NewDecoder(d)
	return d
}

var lenient = sync.Pool{New: func() any { return newDecoder() }}

var stricts = sync.Pool{New: func() any {
	d := newDecoder()
	d.dec.DisallowUnknownFields()
	return d
}}

// Read is the json.Decoder's. A newline ends each text, so that a number is complete.
func (d *decoder) Read(p []byte) (n int, err error) {
	switch {
	case len(d.text) > 0:
		n = copy(p, d.text)
		d.text = d.text[n:]
	case !d.end && len(p) > 0:
		p[0], n, d.end = '\n', 1, true
	default:
		return 0, io.EOF
	}
	d.read += int64(n)
	return n, nil
}

// decodeStrict decodes one JSON text and refuses fields that v does not have and
// text that it would change: a server never ignores what a client asked for. An
// empty body decodes nothing.
func decodeStrict(b []byte, v any) error {
	if decodeLong(b, v) {
		return nil
	}
	if err := decodeWith(&stricts, b, v); err != nil {
		return err
	}
	return checkExact(b)
}

// decode decodes one JSON text, fields of newer servers ignored.
func decode(b []byte, v any) error {
	if v == nil || decodeLong(b, v) {
		return nil
	}
	return decodeWith(&lenient, b, v)
}

func decodeWith(pool *sync.Pool, b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	d := pool.Get().(*decoder)
	start := d.read
	d.text, d.end = b, false
	if err := d.dec.Decode(v); err != nil {
		return err // a json.Decoder does not go on after an error
	}
	if end := d.dec.InputOffset() - start; len(bytes.Trim(b[end:], " \t\r\n")) > 0 {
		return errors.New("data after the JSON text")
	}
	d.text = nil
	if len(b) <= pooledMax {
		pool.Put(d)
	}
	return nil
}
