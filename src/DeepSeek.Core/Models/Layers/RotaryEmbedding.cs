using DeepSeek.Backends;
using DeepSeek.Formats;
using DeepSeek.Tensors;

namespace DeepSeek.Models.Layers;

/// <summary>Rotary frequencies from a configuration: plain, linear, llama3 and YaRN (https://arxiv.org/abs/2309.00071) scaling; spec 2.2 and additions 1-3.</summary>
internal static class RotaryEmbedding
{
    /// <summary>Frequencies, llama3's already divided out: a GGUF file's own way to say it. [R/2]</summary>
    private const string Divisors = "rope_freqs.weight";

    /// <summary>Reads the settings for <paramref name="size"/> rotated dimensions.</summary>
    /// <exception cref="InvalidModelFileException">A number is impossible.</exception>
    /// <exception cref="UnsupportedModelException">A kind of scaling that is not implemented.</exception>
    public static RotarySettings Read(Checkpoint checkpoint, int size, RotaryPairs pairs)
    {
        (ModelConfig section, string kind) = Scaling(checkpoint.Config);
        if (size < 2 || size % 2 != 0) throw new InvalidModelFileException($"'{checkpoint.Config.Source}': {size} dimensions are to be rotated, expected an even number.");
        double theta = Theta(checkpoint.Config, section);
        var f = new double[size / 2];
        for (int i = 0; i < f.Length; i++) f[i] = Math.Pow(theta, -2.0 * i / size);
        double magnitude = 1;
        switch (kind)
        {
            case "default": break;
            case "linear":
                double linear = Factor(section);
                for (int i = 0; i < f.Length; i++) f[i] /= linear;
                break;
            case "llama3": Llama3(f, section, checkpoint.Config); break;
            case "yarn":
                Yarn(f, theta, section, checkpoint.Config);
                magnitude = YarnMagnitude(section);
                break;
            default:
                throw new UnsupportedModelException($"'{section.Source}': rope scaling '{kind}' is not implemented; known are default, linear, llama3 and yarn.");
        }
        if (checkpoint.Find(Divisors, 1, f.Length) is { } divisors) Divide(f, divisors);
        return new RotarySettings(f, magnitude, pairs);
    }

    /// <summary>Factor of the softmax scale of latent attention: the square of YaRN's magnitude for mscale_all_dim (spec 2.4, addition 2).</summary>
    public static double LatentScale(ModelConfig config)
    {
        (ModelConfig section, string kind) = Scaling(config);
        if (kind != "yarn" || section.Number("mscale_all_dim", 0, 0, 100) is not (> 0 and var all)) return 1;
        double m = Magnitude(Factor(section), all);
        return m * m;
    }

    /// <summary>The section with the scaling's numbers, and its kind; files of transformers 5 and later have rope_parameters instead of rope_scaling.</summary>
    private static (ModelConfig Section, string Kind) Scaling(ModelConfig config)
    {
        ModelConfig section = config.Section("rope_parameters") ?? config.Section("rope_scaling") ?? ModelConfig.Empty;
        return (section, section.Text("rope_type") ?? section.Text("type") ?? "default");
    }

    private static double Theta(ModelConfig config, ModelConfig section)
    {
        double theta = section.Number("rope_theta", config.Number("rope_theta", 10_000, 1e-3, 1e15), 1e-3, 1e15);
        return theta > 1 ? theta : throw new InvalidModelFileException($"'{config.Source}': 'rope_theta' is {theta}, expected a number above 1.");
    }

    private static double Factor(ModelConfig section)
    {
        section.Number("factor"); // must be there
        return section.Number("factor", 1, 1e-3, 1e6);
    }

    private static double Original(ModelConfig section, ModelConfig config)
        => section.Int("original_max_position_embeddings", config.Int("max_position_embeddings", max: 1 << 30), 1, 1 << 30);

    /// <summary>Long waves are slowed down by the factor, short ones stay, between them the two are mixed.</summary>
    private static void Llama3(double[] f, ModelConfig section, ModelConfig config)
    {
        double factor = Factor(section), low = section.Number("low_freq_factor", 1, 1e-6, 1e6), high = section.Number("high_freq_factor", 4, 1e-6, 1e6);
        double original = Original(section, config);
        if (high <= low) throw new InvalidModelFileException($"'{section.Source}': 'high_freq_factor' is {high}, expected more than 'low_freq_factor', which is {low}.");
        for (int i = 0; i < f.Length; i++)
        {
            double wavelength = 2 * Math.PI / f[i];
            if (wavelength > original / low) f[i] /= factor;
            else if (wavelength >= original / high)
            {
                double s = (original / wavelength - low) / (high - low);
                f[i] = (1 - s) * f[i] / factor + s * f[i];
            }
        }
    }

    /// <summary>A ramp over the dimensions between those that turn beta_fast and beta_slow times in the original context.</summary>
    private static void Yarn(double[] f, double theta, ModelConfig section, ModelConfig config)
    {
        double factor = Factor(section), original = Original(section, config);
        int size = 2 * f.Length;
        double Dimension(double turns) => size * Math.Log(original / (2 * Math.PI * turns)) / (2 * Math.Log(theta));
        double first = Dimension(section.Number("beta_fast", 32, 1e-6, 1e6)), last = Dimension(section.Number("beta_slow", 1, 1e-6, 1e6));
        if (section.Bool("truncate", true)) (first, last) = (Math.Floor(first), Math.Ceiling(last));
        double low = Math.Max(first, 0), high = Math.Min(last, size - 1);
        if (low == high) high += 0.001;
        for (int i = 0; i < f.Length; i++)
        {
            double ramp = Math.Clamp((i - low) / (high - low), 0, 1);
            f[i] = f[i] / factor * ramp + f[i] * (1 - ramp);
        }
    }

    private static double YarnMagnitude(ModelConfig section)
    {
        double factor = Factor(section), explicitly = section.Number("attention_factor", 0, 0, 1e6);
        if (explicitly > 0) return explicitly;
        double m = section.Number("mscale", 0, 0, 100), all = section.Number("mscale_all_dim", 0, 0, 100);
        return m > 0 && all > 0 ? Magnitude(factor, m) / Magnitude(factor, all) : Magnitude(factor, 1);
    }

    private static double Magnitude(double factor, double m) => factor <= 1 ? 1 : 0.1 * m * Math.Log(factor) + 1;

    private static void Divide(double[] f, Weight divisors)
    {
        var d = new float[f.Length];
        Dequantise.Row(divisors, 0, d);
        for (int i = 0; i < f.Length; i++)
        {
            if (!(float.IsFinite(d[i]) && d[i] > 0))
                throw new InvalidModelFileException($"The tensor '{divisors.Name}' holds {d[i]} at {i}, expected finite numbers above 0: they divide the rotary frequencies.");
            f[i] /= d[i];
        }
    }
}
