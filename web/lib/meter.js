// How loud it is: an analyser's samples as a bar, on a scale of decibels as ears have it.

const FLOOR_DB = -60;

/** Root mean square of samples in -1..1, as 0 (at -60 dBFS or less) to 1 (at 0 dBFS). */
export function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const db = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}

/** Show an analyser's level in a `.meter`, each frame, until the returned function is called. */
export function showLevel(analyser, bar) {
  const samples = new Float32Array(analyser.fftSize);
  let shown = 0;
  let frame = 0;
  const draw = () => {
    analyser.getFloatTimeDomainData(samples);
    shown = Math.max(level(samples), shown * 0.9); // falls slowly, or eyes cannot follow
    bar.style.setProperty("--level", shown.toFixed(3));
    frame = requestAnimationFrame(draw);
  };
  draw();
  return () => {
    cancelAnimationFrame(frame);
    bar.style.setProperty("--level", "0");
  };
}
