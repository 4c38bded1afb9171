import sys,time
sys.path.insert(0,"/work/main/core/src"); sys.dont_write_bytecode=True
from decimal import Decimal as D
from functools import partial
from lab.domain.market import Candle
from lab.engine.history import History
class X:
    def m(self):pass
f=X().m
def u():
    b=1e9
    for _ in range(5):
        a=time.perf_counter()
        for _ in range(200000): f()
        b=min(b,(time.perf_counter()-a)/2e5*1e9)
    return b
N=100000
cols=[["B"]*N,[i*60*10**9 for i in range(N)],[(i+1)*60*10**9 for i in range(N)]]+[[43000.5+(i%97)*.1 for i in range(N)] for _ in range(5)]+[["final"]*N]
def run(name,fn,data):
    best=1e9
    for _ in range(4):
        a=time.perf_counter(); fn(data); best=min(best,(time.perf_counter()-a)/N*1e9)
    print(f"{name:55s}{best:7.0f} ns {best/u():6.1f}u")
run("columns->Candle",lambda _:[0 for _ in map(partial(tuple.__new__,Candle),zip(*cols))],None)
L=list(map(partial(tuple.__new__,Candle),zip(*cols)))
class E:
    def __init__(s,mode):
        s.now_ns=0;s.day_end=86400*10**9;s.h=History(60*10**9,64);s.m={"B":s};s.table={Candle:s.on_candle};s.resting=0;s.q=D("0.013");s.cost=D(559);s.cash=D(10000);s.peak=1e9;s.mode=mode;s.sf=s.ss=0.;s.fast=10;s.slow=30;s.mark=0.;s.was=0
        s.fq=.013;s.fc=559.;s.fcash=1e4
    def step(s,ev): return s.table[type(ev)](ev)
    def on_candle(s,ev):
        sym,o,t,op,hi,lo,c,v,st=ev
        if t>s.now_ns:s.now_ns=t
        if t>=s.day_end:s.day_end+=86400*10**9
        m=s.m[sym]
        if s.resting:pass
        h=m.h; cs=h.candles
        if o!=h.next_ns:pass
        cs.append(ev);h.count+=1;h.next_ns=o+h.interval_ns
        if len(cs)>=128: del cs[:64]
        s.mark=c
        k=s.mode
        if k=="empty": return ()
        if k!="flat":
            if k=="D": eq=s.cash+s.q*D(repr(c))-s.cost
            else: eq=s.fcash+s.fq*c-s.fc
            if eq>s.peak:s.peak=eq
        if len(cs)>40:
            r=s.strat(ev,s)
            if r:pass
        return ()
    def strat(s,c,view):
        if s.mode=="col":
            x=view.h.column("close");n=len(x);s.sf+=x[n-1]-x[n-11];s.ss+=x[n-1]-x[n-31]
        else:
            cs=view.h.candles;x=c[6];s.sf+=x-cs[-11][6];s.ss+=x-cs[-31][6]
        now=1 if s.sf*3>s.ss else -1
        if now!=s.was: s.was=now
        return ()
for k,lab in(("empty","empty candle"),("flat","SMA flat, candles[-n][6]"),("float","SMA + float equity"),("D","SMA + Decimal equity each candle"),("col","SMA via view.closes() column")):
    def go(L,k=k):
        e=E(k);st=e.step
        for c in L: st(c)
    run(lab,go,L)
import msgspec
en=msgspec.json.Encoder()
run("journal a live candle: encode body",lambda L:[en.encode(c) and None for c in L],L)
