/** A star of 24 by 24 pixels, cut out of a colour. */
const STAR =
  'url("data:image/svg+xml;base64,' +
  btoa(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M12 1.8l3.1 6.6 7.1.9-5.2 5 1.3 7.1L12 17.9l-6.3 3.5L7 14.3l-5.2-5 7.1-.9z"/></svg>',
  ) +
  '")';

/** How the parts of a screen look that the app's own styles say nothing of. */
export const SHEET = `
html,body{width:100vw;height:100vh;margin:0;overflow:hidden;background:#fff}
body{color:#1b1f23;font:14px/1.2 system-ui,-apple-system,Roboto,sans-serif}
input,textarea,select{box-sizing:border-box;margin:0;padding:0;border:0;outline:0;background:none;color:inherit;font:inherit;text-align:inherit}
.w{position:fixed;box-sizing:border-box;overflow:hidden;border:0 solid #0003;background-repeat:no-repeat;background-position:center}
.text{white-space:pre-wrap;overflow-wrap:anywhere}
.one{white-space:pre;overflow:clip;overflow-clip-margin:8px}
.picture>img{display:block;width:100%;height:100%;border:0}
.placeholder{display:flex;align-items:safe center;justify-content:safe center;padding:2px;background:#f1f2ee repeating-linear-gradient(45deg,#0000 0 6px,#35373e12 6px 8px);color:#35373e;font-size:12px;text-align:center;overflow-wrap:anywhere}
.field{display:flex;align-items:center;gap:6px;padding:0 6px}
.bare{box-shadow:inset 0 0 0 1px #0000001f}
.field>:is(input,textarea,select){flex:1;min-width:0;height:100%}
.field>textarea{padding:6px 0;resize:none}
.field>img{flex:none;max-height:60%;max-width:24px}
.button{display:flex;align-items:center;justify-content:center;white-space:pre-wrap;text-align:center}
.choice{display:flex;align-items:center;gap:8px}
.choice>input{flex:none;width:18px;height:18px;accent-color:var(--c,#2563eb)}
.off{opacity:.5}
.switch{position:relative;flex:none;width:44px;max-width:100%;height:26px;max-height:100%;border-radius:99px;background:#c4c9d0}
.choice>.switch:last-child{margin-left:auto}
.choice>.switch:only-child{margin:auto}
.switch.on{background:var(--c,#2563eb)}
.switch>i{position:absolute;top:8%;bottom:8%;left:5%;aspect-ratio:1;border-radius:50%;background:#fff;box-shadow:0 1px 2px #0005}
.switch.on>i{right:5%;left:auto}
.progress{display:flex;align-items:center;justify-content:center}
.bar{position:relative;width:100%;height:100%;max-height:6px;border-radius:3px;background:#d9dde2;overflow:hidden}
.bar>i{position:absolute;inset:0 auto 0 0;border-radius:3px;background:var(--c,#2563eb)}
.bar>.busy{width:40%;animation:slide 1.4s ease-in-out -.5s infinite}
.ring{flex:none;height:100%;max-width:100%;max-height:100%;aspect-ratio:1;border-radius:50%;background:conic-gradient(var(--c,#2563eb) var(--share),#d9dde2 0);mask:radial-gradient(closest-side,#0000 76%,#000 78%)}
.ring.busy{--share:28%;animation:turn 1.2s linear infinite}
.stars{flex:none;width:calc(var(--max)*24px);height:24px;background:linear-gradient(90deg,var(--c,#e8a600) var(--share),#d4d8dd 0);mask:${STAR} 0 0/24px 24px repeat-x}
.status{display:flex;align-items:center;padding-left:12px;font-size:13px;font-weight:600;font-variant-numeric:tabular-nums}
.nav{display:flex;align-items:center;justify-content:space-evenly}
.nav>i{flex:none;width:14px;height:14px;background:currentColor}
.nav>.back{clip-path:polygon(100% 0,100% 100%,8% 50%)}
.nav>.home{border-radius:50%}
.nav>.tasks{width:12px;height:12px;border-radius:2px}
.keyboard{display:flex;flex-direction:column;justify-content:space-evenly;padding:6px 4px 10px;background:#d3d6dc;color:#fff}
.keyboard>div{display:flex;justify-content:center;gap:5px;height:19%}
.keyboard i{width:8.6%;height:100%;border-radius:5px;background:currentColor;box-shadow:0 1px 0 #0004}
.keyboard .wide{width:46%}
@keyframes slide{from{left:-40%}to{left:100%}}
@keyframes turn{to{transform:rotate(1turn)}}
`;
