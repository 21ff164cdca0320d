Console.WriteLine("DeepSeek.Benchmarks");
