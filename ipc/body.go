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
func (m *message) frame(k kind, id uint64, files int) []byte {
	header{size: uint32(m.body()), kind: k, files: uint16(files), id: id}.put(m.buf)
	return m.buf
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

// decodeStrict decodes one JSON text and refuses fields that v does not have: a
// server never ignores what a client asked for. An empty body decodes nothing.
func decodeStrict(b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("data after the JSON text")
	}
	return nil
}

// decode decodes one JSON text, fields of newer servers ignored.
func decode(b []byte, v any) error {
	if len(b) == 0 || v == nil {
		return nil
	}
	return json.Unmarshal(b, v)
}
