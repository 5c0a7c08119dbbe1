# A foreign client: call.py SOCKET METHOD JSON [FILE]. See the package comment.
import array, json, socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
files = [open(name, "a") for name in sys.argv[4:]]
def frame(kind, files, id, body): return struct.pack(">IBBHQ", len(body), kind, 0, files, id) + body
def read(n): return s.recv(n, socket.MSG_WAITALL)
s.sendall(frame(1, 0, 0, json.dumps({"ipc": 1, "body": 1 << 20, "files": 0, "window": 1 << 20}).encode()))
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [f.fileno() for f in files]))] if files else []
s.sendmsg([frame(2, len(files), 1, f"{sys.argv[2]}\n{sys.argv[3]}".encode())], rights)
while True:
    size, kind, _, _, _ = struct.unpack(">IBBHQ", read(16))
    body = read(size) if size else b"null"
    if kind != 1: print(["result", "error", "item"][kind - 3], json.dumps(json.loads(body)))
    if kind in (3, 4): break
